"""Show how much was spent, by model and by user, over time."""

import charts
import data
import streamlit as st

st.set_page_config(page_title="meter", layout="wide")
st.title("How much, by model and by user?")

left, middle, right = st.columns(3)
days = left.selectbox("Period", [1, 7, 30, 90], index=1, format_func=lambda n: f"last {n} days")
group = middle.selectbox("By", ["model", "subject"])
tz = right.selectbox("Time zone", ["UTC", "Asia/Shanghai", "Europe/Berlin", "America/New_York"])

by_day = data.spend(("day", group), days, tz)
if by_day.empty:
    st.info("No call was recorded in this period: run `meter demo --once`, or wrap a client.")
    st.stop()

for currency in sorted(by_day["currency"].dropna().unique()):
    in_currency = by_day[by_day["currency"] == currency]
    st.metric(f"Spend ({currency})", f"{data.total(in_currency, currency):,.6f}")
    st.altair_chart(charts.spend_by_day(in_currency, group, currency), width="stretch")

unsettled, estimated = int(by_day["unsettled"].sum()), int(by_day["estimated"].sum())
if unsettled or estimated:
    st.caption(f"{estimated} calls were counted by us, {unsettled} are unsettled.")
st.dataframe(data.spend(("subject", "model"), days, tz), width="stretch", hide_index=True)
