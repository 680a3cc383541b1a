"""Hold every text of the dashboard in English and in Chinese.

`t("name", key=value)` returns the text of that name in the session's language. The words are those
of the command line and the documentation. A test holds both languages to the same names and gaps.
"""

import streamlit as st

LANGUAGES = {"en": "English", "zh": "中文"}

TEXTS: dict[str, tuple[str, str]] = {
    # Pages: each title is the question that the page answers.
    "nav.spend": ("Spend", "支出"),
    "nav.users": ("Users", "用户"),
    "nav.models": ("Models & prices", "模型与价格"),
    "nav.calls": ("Calls", "调用"),
    "nav.budgets": ("Budgets & credit", "预算与额度"),
    "nav.accuracy": ("Accuracy", "准确度"),
    "nav.bills": ("Reconciliation", "对账"),
    "nav.exports": ("Exports & invoices", "导出与账单"),
    "title.bills": ("Does the bill agree with the ledger?", "账单与账本一致吗？"),
    "title.exports": ("What do others need of it?", "需要导出什么？"),
    "title.spend": ("How much is spent, and on what?", "花了多少钱，花在哪里？"),
    "title.users": ("Who spends how much?", "谁花了多少？"),
    "title.user": ("What does {name} spend?", "{name} 花了多少？"),
    "title.models": ("Which models are used, and at what price?", "用了哪些模型，价格如何？"),
    "title.calls": ("Which calls were made?", "有哪些调用？"),
    "title.call": ("What was this call?", "这次调用的详情？"),
    "title.budgets": ("How much is left?", "还剩多少？"),
    "title.accuracy": ("How far can the numbers be trusted?", "这些数字有多可信？"),
    # The filter.
    "filter.period": ("Period", "时间段"),
    "filter.from": ("From", "从"),
    "filter.to": ("To (included)", "到（含）"),
    "filter.backwards": (
        "The last day is before the first: only the first day is shown.",
        "结束日期早于开始日期：只显示开始那一天。",
    ),
    "filter.tz": ("Time zone", "时区"),
    "filter.no_zone": (
        "There is no time zone {name}; UTC is used.",
        "没有时区 {name}，已改用 UTC。",
    ),
    "filter.book": ("Amounts", "金额"),
    "filter.book.help": (
        "What we owe to those who bill us, what the published prices would be, or what the users "
        "owe.",
        "我方应付、公开目录价，或向用户收取的金额。",
    ),
    "book.cost": ("What we owe", "我方成本"),
    "book.list": ("Published price", "公开目录价"),
    "book.billed": ("What users are billed", "向用户收取"),
    "filter.currency": ("Currency", "货币"),
    "filter.currency.help": (
        "Amounts of different currencies are never added up.",
        "不同货币的金额不会相加。",
    ),
    "filter.subject": ("User", "用户"),
    "filter.model": ("Model", "模型"),
    "filter.tag": ("Tag", "标签"),
    "filter.live": ("Live", "实时"),
    "filter.live.help": (
        "Read the figures anew every few seconds.",
        "每隔几秒重新读取数据。",
    ),
    "filter.language": ("Language", "语言"),
    "filter.by": ("By", "按"),
    "filter.clear": ("Show everything", "显示全部"),
    "all.subjects": ("All users", "所有用户"),
    "all.models": ("All models", "所有模型"),
    "all.tags": ("All tags (or type name=value)", "所有标签（或输入 名称=值）"),
    "all.currencies": ("All currencies", "所有货币"),
    "period.today": ("Today", "今天"),
    "period.yesterday": ("Yesterday", "昨天"),
    "period.7d": ("Last 7 days", "最近 7 天"),
    "period.30d": ("Last 30 days", "最近 30 天"),
    "period.90d": ("Last 90 days", "最近 90 天"),
    "period.month": ("This month", "本月"),
    "period.last_month": ("Last month", "上个月"),
    "period.custom": ("Chosen days", "自选日期"),
    "by.model": ("Model", "模型"),
    "by.subject": ("User", "用户"),
    "head.from_to": ("{first} to {last}, {tz}", "{first} 至 {last}，{tz}"),
    "head.one_day": ("{first}, {tz}", "{first}，{tz}"),
    "head.as_of": ("as of {at}", "截至 {at}"),
    # Who looks.
    "access.title": ("Sign in", "登录"),
    "access.key": ("Key", "密钥"),
    "access.key.help": (
        "A key of the gateway: yours shows what is yours, one with the role admin or reader shows "
        "everything. `meter keys create` makes one.",
        "网关的密钥：普通密钥只显示属于你的数据，角色为 admin 或 reader 的密钥显示全部。"
        "用 `meter keys create` 创建。",
    ),
    "access.sign_in": ("Sign in", "登录"),
    "access.sign_out": ("Sign out", "退出"),
    "access.signed_in": ("Signed in as {name}", "已登录：{name}"),
    "access.wrong": (
        "No active key is this one. Check that it is whole; a revoked or expired key no longer "
        "signs in.",
        "没有与之匹配的有效密钥。请确认密钥完整；已吊销或过期的密钥不能登录。",
    ),
    "access.ended": (
        "You were signed out: the key was revoked or has expired.",
        "你已退出：密钥已被吊销或过期。",
    ),
    "access.oidc": (
        "Your organisation's account opens the dashboard.",
        "用你所在组织的账号登录仪表盘。",
    ),
    "access.unknown": (
        "{name} is signed in but may not see anything here: `dashboard_users` in the settings says "
        "who may.",
        "{name} 已登录，但没有查看权限：设置中的 `dashboard_users` 规定谁可以查看。",
    ),
    "access.not_local": (
        "This dashboard asks nobody to sign in, so it serves this machine only. Start it with "
        '`meter dashboard`, or choose a sign-in: `dashboard_sign_in = "key"` in meter.toml.',
        "此仪表盘不要求登录，因此只为本机服务。请用 `meter dashboard` 启动，"
        '或在 meter.toml 中设置登录方式：`dashboard_sign_in = "key"`。',
    ),
    # Empty and broken.
    "empty.ledger": (
        "No call is recorded yet in {place}.\n\nRun `meter demo --once` to see the dashboard with "
        "simulated calls, or wrap a client: `Meter().wrap(OpenAI())`.",
        "{place} 中还没有任何调用记录。\n\n运行 `meter demo --once` 用模拟调用体验仪表盘，"
        "或包装一个客户端：`Meter().wrap(OpenAI())`。",
    ),
    "empty.view": (
        "No call was recorded here in this period. Choose a longer period, or show everything.",
        "该时间段内没有调用记录。请选择更长的时间段，或显示全部。",
    ),
    "empty.priced": (
        "No call of this period has a price, so there are no amounts to show.",
        "该时间段内没有任何有价格的调用，因此没有金额可显示。",
    ),
    "broken.title": ("Nothing to see yet", "暂时没有内容"),
    "broken.ledger": (
        "The ledger cannot be read: {error}",
        "无法读取账本：{error}",
    ),
    "broken.try_again": ("Try again", "重试"),
    # Spend.
    "spend.cost": ("Spend", "支出"),
    "spend.cost.help": (
        "Exactly {exact}: the sum of every priced call of the period. In grey: compared with the "
        "period before, up to the same moment ({before}).",
        "精确值 {exact}：该时间段内所有有价格调用之和。"
        "灰字为与上一时间段同一时刻相比（{before}）。",
    ),
    "spend.calls": ("Calls", "调用次数"),
    "spend.per_call": ("Cost per call", "每次调用成本"),
    "spend.per_call.help": (
        "Over calls that were answered and have a price.",
        "仅计算有应答且有价格的调用。",
    ),
    "spend.per_thousand": ("Per 1,000 tokens", "每千 token"),
    "spend.per_thousand.help": (
        "Input and output tokens together.",
        "输入与输出 token 合计。",
    ),
    "spend.cache": ("Saved by caching", "缓存节省"),
    "spend.cache.help": (
        "Cached input at the full input rate less its own ({read}), less what writing to the cache "
        "cost above the full rate ({written}). In grey: the share of what everything would have "
        "cost without a cache.",
        "缓存输入按全价计算减去实际费用（{read}），再减去写入缓存高出全价的部分（{written}）。"
        "灰字为占无缓存总费用的比例。",
    ),
    "spend.cache.none": ("Nothing was cached.", "没有使用缓存。"),
    "spend.forecast": ("Forecast", "预测"),
    "spend.forecast.help": (
        "What the whole period will have cost, if the days to come cost what the last {days} days "
        "did. A statistical estimate: four of five such sums fall between {low} and {high}.",
        "如果接下来的日子与过去 {days} 天花费相当，整个时间段的总支出。"
        "这是统计估计：五次中有四次落在 {low} 与 {high} 之间。",
    ),
    "spend.band": ("{low} – {high}", "{low} – {high}"),
    "spend.over_time": ("Over time", "随时间变化"),
    "spend.cumulative": ("Running total", "累计"),
    "spend.this_period": ("This period", "本期"),
    "spend.last_period": ("Period before", "上期"),
    "spend.forecast_line": ("Forecast", "预测"),
    "spend.cumulative.note": (
        "Solid: this period. Dashed grey: the period before. Dotted, with its band: the forecast, "
        "a statistical estimate. Red line: a budget over exactly this view.",
        "实线：本期。灰色虚线：上期。点线及其区间：预测（统计估计）。红线：恰好覆盖此视图的预算。",
    ),
    "spend.budget_line": ("Budget {name}: {limit}", "预算 {name}：{limit}"),
    "spend.movers": ("What changed most", "变化最大"),
    "spend.movers.note": (
        "Against the period before, up to the same moment. To the right: costs more now; to the "
        "left: costs less.",
        "与上一时间段同一时刻相比。向右：现在花费更多；向左：更少。",
    ),
    "spend.movers.none": (
        "Nothing to compare with: the period before has no calls and neither has this one.",
        "没有可比较的数据：上期和本期都没有调用。",
    ),
    "spend.breakdown": ("In figures", "明细"),
    "spend.drill": ("Choose one to look closer", "选择一项查看详情"),
    "others": ("{count} others", "其他 {count} 项"),
    "rest": (
        "{count} more are not shown: choose a user at the side.",
        "还有 {count} 项未显示：请在侧栏选择用户。",
    ),
    "nobody": ("(nobody)", "（未归属）"),
    "unknown_model": ("(no model)", "（无模型）"),
    "remark.estimated": ("{count} counted by us", "{count} 次由我们估算"),
    "remark.unsettled": ("{count} unsettled", "{count} 次未结算"),
    "remark.unpriced": ("{count} without a price", "{count} 次无价格"),
    "remark.failed": ("{count} failed", "{count} 次失败"),
    "remark.refused": ("{count} refused", "{count} 次被拒绝"),
    "remark.of_these": ("Of {count} calls: ", "{count} 次调用中："),
    # Columns.
    "col.name": ("Name", "名称"),
    "col.day": ("Time", "时间"),
    "col.cost": ("Cost", "费用"),
    "col.cost_in": ("Cost ({currency})", "费用（{currency}）"),
    "col.share": ("Share", "占比"),
    "col.calls": ("Calls", "调用"),
    "col.input": ("Input", "输入"),
    "col.cached": ("Cached", "缓存"),
    "col.output": ("Output", "输出"),
    "col.tokens.help": ("in tokens", "单位：token"),
    "col.per_call": ("Per call", "每次"),
    "col.per_thousand": ("Per 1k tokens", "每千 token"),
    "col.before": ("Before", "之前"),
    "col.after": ("Now", "现在"),
    "col.change": ("Change", "变化"),
    "col.change_in": ("Change ({currency})", "变化（{currency}）"),
    "col.step_day": ("Day of the period", "时间段的第几天"),
    "col.step_hour": ("Hour of the period", "时间段的第几小时"),
    "col.step_week": ("Week of the period", "时间段的第几周"),
    "col.total_in": ("Total ({currency})", "累计（{currency}）"),
    "col.trend": ("Trend", "趋势"),
    # Users.
    "users.table.note": (
        "Choose a row to see that user.",
        "选择一行查看该用户。",
    ),
    "users.keys": ("Keys", "密钥"),
    "users.keys.none": (
        "No gateway key belongs to this user: `meter keys create --subject {name}` makes one.",
        "该用户没有网关密钥：用 `meter keys create --subject {name}` 创建。",
    ),
    "users.budgets.none": (
        "No budget limits this user: `meter budgets set NAME --subject {name} --limit 50` sets "
        "one.",
        "该用户没有预算限制：用 `meter budgets set NAME --subject {name} --limit 50` 设置。",
    ),
    "users.unusual": ("Unusual days", "异常日"),
    "users.unusual.none": (
        "None in the last 90 days, or fewer than 7 days to learn from.",
        "最近 90 天没有异常，或可参考的天数不足 7 天。",
    ),
    "users.unusual.note": (
        "Days further from the usual than five times what days usually differ by.",
        "与平常的偏离超过日常波动五倍的日子。",
    ),
    "users.back": ("All users", "所有用户"),
    "col.usual": ("Usual", "平常"),
    "col.key": ("Key", "密钥"),
    "col.state": ("State", "状态"),
    "col.created": ("Created", "创建时间"),
    "col.expires": ("Expires", "过期时间"),
    "col.may_use": ("May use", "可用模型"),
    "everything": ("everything", "全部"),
    "never": ("never", "永不"),
    # Models.
    "models.latency": ("How long do they take?", "耗时多久？"),
    "models.latency.note": (
        "Over the newest {count} completed calls of the period.",
        "基于该时间段内最新的 {count} 次完成调用。",
    ),
    "models.prices": ("What did they cost when?", "价格如何变化？"),
    "models.prices.note": (
        "List prices at the standard tier, for calls of ordinary size. Each call keeps the rate "
        "card of its start.",
        "标准档、普通大小调用的目录价格。每次调用保留其开始时的价目卡。",
    ),
    "models.prices.none": (
        "No price of {model} is known: `meter prices show {model}` says what was looked for; a "
        "rate file adds one.",
        "没有 {model} 的价格：`meter prices show {model}` 会说明查找内容；可用价格文件添加。",
    ),
    "models.whatif": ("What would another model have cost?", "换一个模型要花多少？"),
    "models.whatif.note": (
        "The tokens of this view's calls with output at today's list price of each model in use. "
        "Other models count and answer differently: this compares price lists, no more.",
        "此视图中有输出的调用的 token 按各模型今日目录价计算。"
        "不同模型的计数与回答各不相同：仅比较价目。",
    ),
    "models.choose": ("Model", "模型"),
    "col.per_million": ("{currency} per million", "每百万 {currency}"),
    "models.as_it_was": ("as it was", "实际"),
    "col.per_million_price": ("Price per million", "每百万价格"),
    "call.counted": ("output counted by us", "由我们计数的输出"),
    "call.rate": ("{price} per {per}", "{price} / {per}"),
    "col.rate_in": ("Rate ({currency})", "单价（{currency}）"),
    "col.amount_in": ("Amount ({currency})", "金额（{currency}）"),
    "col.unit": ("Unit", "单位"),
    "col.price": ("Price", "价格"),
    "col.cache_rate": ("Cache rate", "缓存率"),
    "col.median": ("Median", "中位数"),
    "col.p95": ("95 %", "95 %"),
    "col.first_byte": ("First byte (median)", "首字节（中位数）"),
    "col.model": ("Model", "模型"),
    "col.valid_from": ("From", "自"),
    "col.source": ("Source", "来源"),
    "beginning": ("from the beginning", "自始"),
    # Calls.
    "calls.search": ("Search", "搜索"),
    "calls.search.placeholder": (
        "user, model, key, response id or call id",
        "用户、模型、密钥、响应 ID 或调用 ID",
    ),
    "calls.basis": ("Basis", "依据"),
    "calls.all_bases": ("Any basis", "全部依据"),
    "calls.order": ("Order", "排序"),
    "order.started": ("Newest first", "最新优先"),
    "order.cost": ("Dearest first", "最贵优先"),
    "order.duration": ("Slowest first", "最慢优先"),
    "order.input_tokens": ("Most input first", "输入最多优先"),
    "order.output_tokens": ("Most output first", "输出最多优先"),
    "calls.page": ("Calls {first} to {last}", "第 {first} 至 {last} 次调用"),
    "calls.earlier": ("Previous", "上一页"),
    "calls.later": ("Next", "下一页"),
    "calls.choose": (
        "Choose a row to see everything about that call.",
        "选择一行查看该调用的全部信息。",
    ),
    "calls.none": (
        "No call is like this. Take the search or the basis back, or choose a longer period.",
        "没有符合条件的调用。请清除搜索或依据，或选择更长的时间段。",
    ),
    "calls.back": ("Back to the list", "返回列表"),
    "calls.not_found": (
        "There is no ended call {id} that you may see.",
        "没有你可以查看的已结束调用 {id}。",
    ),
    "call.input": ("Input tokens", "输入 token"),
    "call.output_tokens": ("Output tokens", "输出 token"),
    "call.usage": ("Usage", "用量"),
    "call.lines": ("Charge", "计费"),
    "call.timing": ("Timing", "时间"),
    "call.who": ("Who and what", "谁与什么"),
    "call.duration": ("Duration", "耗时"),
    "call.first_byte": ("First byte", "首字节"),
    "call.started": ("Started", "开始"),
    "call.ended": ("Ended", "结束"),
    "call.estimate": ("Estimated input", "估算输入"),
    "call.reported": ("Input", "输入"),
    "call.output": ("Output", "输出"),
    "call.bound": ("Most it could cost", "费用上限"),
    "call.outcome": ("Outcome", "结果"),
    "call.basis": ("Basis", "依据"),
    "call.card": (
        "Rated with rate card {card} ({source}), in force when the call started.",
        "按价目卡 {card}（{source}）计费，为调用开始时生效的价格。",
    ),
    "call.card.unknown": (
        "Rated with rate card {card}.",
        "按价目卡 {card} 计费。",
    ),
    "call.unpriced": ("It has no amount: {reason}.", "没有金额：{reason}。"),
    "call.no_usage": ("Nobody knows what it used.", "用量未知。"),
    "call.nothing_owed": ("Nothing is owed.", "无需付费。"),
    "call.corrections": (
        "{count} later corrections are applied.",
        "已应用 {count} 次后续更正。",
    ),
    "col.started": ("Started", "开始"),
    "col.user": ("User", "用户"),
    "col.endpoint": ("Endpoint", "端点"),
    "col.basis": ("Basis", "依据"),
    "col.outcome": ("Outcome", "结果"),
    "col.duration": ("Duration", "耗时"),
    "col.quantity": ("Quantity", "数量"),
    "col.rate": ("Rate", "单价"),
    "col.amount": ("Amount", "金额"),
    "call.field": ("Field", "字段"),
    "call.value": ("Value", "值"),
    "field.id": ("Call", "调用"),
    "field.operation": ("Operation", "操作"),
    "field.subject": ("User", "用户"),
    "field.key": ("Key", "密钥"),
    "field.tags": ("Tags", "标签"),
    "field.provider": ("Provider", "服务方"),
    "field.issuer": ("Issuer", "账单方"),
    "field.endpoint": ("Endpoint", "端点"),
    "field.model_requested": ("Model asked for", "请求的模型"),
    "field.model_served": ("Model that served", "实际模型"),
    "field.tier": ("Service tier", "服务档"),
    "field.status": ("Status", "状态码"),
    "field.streaming": ("Streamed", "流式"),
    "field.response_id": ("Response id", "响应 ID"),
    "field.path": ("Path", "路径"),
    "field.upstream": ("Upstream", "上游"),
    "field.defects": ("Defects", "缺陷"),
    "yes": ("yes", "是"),
    "no": ("no", "否"),
    # Values that the ledger writes.
    "value.reported": ("reported", "服务方报告"),
    "value.estimated": ("estimated", "估算"),
    "value.unknown": ("unknown", "未知"),
    "value.completed": ("completed", "完成"),
    "value.client_closed": ("client closed", "客户端断开"),
    "value.upstream_failed": ("upstream failed", "上游失败"),
    "value.timed_out": ("timed out", "超时"),
    "value.refused": ("refused", "被拒绝"),
    "value.active": ("active", "有效"),
    "value.expired": ("expired", "已过期"),
    "value.revoked": ("revoked", "已吊销"),
    "value.money": ("money", "金额"),
    "value.tokens": ("tokens", "token"),
    "value.calls": ("calls", "调用"),
    "value.minute": ("minute", "分钟"),
    "value.hour": ("hour", "小时"),
    "value.day": ("day", "天"),
    "value.week": ("week", "周"),
    "value.month": ("month", "月"),
    "value.total": ("total", "总计"),
    "value.admin": ("admin", "管理员"),
    "value.reader": ("reader", "只读"),
    # Budgets.
    "budgets.none": (
        "No budget is set, so nothing is refused: `meter budgets set NAME --limit 50` sets one.",
        "没有设置预算，因此不会拒绝任何调用：用 `meter budgets set NAME --limit 50` 设置。",
    ),
    "budgets.none.own": (
        "No budget limits you here.",
        "没有限制你的预算。",
    ),
    "budgets.scope": ("for {scope}", "范围：{scope}"),
    "budgets.everything": ("everything", "全部"),
    "budgets.window": ("each {window}, {tz}", "每{window}，{tz}"),
    "budgets.window.total": ("for all time", "不限时间"),
    "budgets.parts": (
        "{spent} spent, {held} held for calls in flight, of {limit}.",
        "已用 {spent}，为进行中的调用预留 {held}，上限 {limit}。",
    ),
    "budgets.held": ("Held", "预留"),
    "budgets.left": ("Left", "剩余"),
    "budgets.used": ("{share} used", "已用 {share}"),
    "budgets.runs_out": (
        "At this pace it runs out on {at}.",
        "按此速度将于 {at} 用完。",
    ),
    "budgets.ran_out": (
        "Nothing is left: new calls are refused until {end}.",
        "已用完：{end} 之前会拒绝新调用。",
    ),
    "budgets.ran_out.total": (
        "Nothing is left: new calls are refused until the limit is raised.",
        "已用完：提高上限之前会拒绝新调用。",
    ),
    "budgets.lasts": (
        "At this pace {expected} will be used when the window ends on {end}.",
        "按此速度，到 {end} 窗口结束时将使用 {expected}。",
    ),
    "budgets.unused": ("Nothing was spent in this window yet.", "此窗口内尚未使用。"),
    "budgets.rolls": (
        "What is older than the window comes back by itself.",
        "超出窗口的用量会自动恢复。",
    ),
    "budgets.rolling": ("the last {window}", "最近 {window}"),
    "credit.title": ("Prepaid credit", "预付额度"),
    "credit.none": (
        "Nobody is prepaid: `meter credits grant SUBJECT AMOUNT` grants credit.",
        "没有预付额度：用 `meter credits grant SUBJECT AMOUNT` 授予。",
    ),
    "credit.none.own": ("You have no prepaid credit.", "你没有预付额度。"),
    "credit.balance": ("Balance", "余额"),
    "credit.free": ("Free for calls", "可用"),
    "credit.used": ("Used so far", "已用"),
    "credit.overrun": (
        "The balance is below zero: usage that was already under way is never refused.",
        "余额为负：已经发生的用量不会被拒绝。",
    ),
    "statement.title": ("Statement of credit in {currency}", "预付额度对账单（{currency}）"),
    "statement.opening": ("opening balance", "期初余额"),
    "statement.closing": ("closing balance", "期末余额"),
    "col.of": ("Of", "明细"),
    "col.balance": ("Balance", "余额"),
    "value.usage": ("usage", "用量"),
    "value.grant": ("grant", "授予"),
    "value.refund": ("refund", "退款"),
    "value.adjustment": ("adjustment", "调整"),
    "value.expiry": ("expiry", "过期"),
    "value.revocation": ("revocation", "撤销"),
    "value.cover": ("cover of an overrun", "补足透支"),
    "col.granted": ("Granted", "授予时间"),
    "col.left": ("Left", "剩余"),
    "col.ends": ("Ends", "结束"),
    "col.reason": ("Reason", "原因"),
    "value.live": ("live", "有效"),
    "value.used up": ("used up", "已用完"),
    "value.credit": ("credit", "额度"),
    "budgets.nearest": ("Nearest to its limit first.", "最接近上限的排在最前。"),
    # Accuracy.
    "accuracy.basis": ("How is the usage known?", "用量从何而来？"),
    "accuracy.basis.note": (
        "Reported: by the provider. Estimated: counted by us, because the answer broke off or had "
        "no usage. Unknown: unsettled, nobody saw the end.",
        "服务方报告：由服务方给出。估算：应答中断或没有用量，由我们计数。未知：未结算，没有人看到结束。",
    ),
    "accuracy.estimates": ("How good are estimates before the call?", "调用前的估算有多准？"),
    "accuracy.estimates.note": (
        "Each point is a call: the input estimated from the request alone, against what the "
        "provider reported. On the dashed line both are the same. The newest {count} calls.",
        "每个点是一次调用：仅根据请求估算的输入与服务方报告的输入。"
        "虚线上两者相同。最新 {count} 次调用。",
    ),
    "accuracy.none": (
        "No call of this period has both an estimate and a report.",
        "该时间段内没有同时具备估算与报告的调用。",
    ),
    "accuracy.newest": (
        "Over the newest {count} calls of the period.",
        "基于本期最新的 {count} 次调用。",
    ),
    "accuracy.calibration": ("How are estimates corrected?", "估算如何校正？"),
    "accuracy.calibration.note": (
        "An estimate is multiplied by the ratio, then the offset in tokens is added. The errors "
        "are medians on calls that the correction was not fitted to; from 8 samples on.",
        "估算值先乘以比率，再加上偏移（token 数）。误差为未用于拟合的调用上的中位数；"
        "至少需 8 个样本。",
    ),
    "accuracy.calibration.none": (
        "Nothing was learnt yet: an estimate and a report of the same call are needed.",
        "尚无可学习的样本：需要同一次调用的估算值与报告值。",
    ),
    "col.content": ("Content", "内容"),
    "col.samples": ("Samples", "样本数"),
    "col.ratio": ("Ratio", "比率"),
    "col.offset": ("Offset", "偏移"),
    "col.error_before": ("Error before", "校正前误差"),
    "col.error_after": ("Error after", "校正后误差"),
    "content.text": ("text", "文本"),
    "content.tools": ("tools", "工具"),
    "content.media": ("media", "媒体"),
    "accuracy.unsettled": ("Unsettled calls", "未结算调用"),
    "accuracy.unsettled.note": (
        "Sent, but nobody knows what they used; they may be billed. `meter settle` settles one by "
        "hand.",
        "已发送但用量未知，可能会被计费。可用 `meter settle` 手工结算。",
    ),
    "accuracy.unsettled.none": (
        "No call of this period is unsettled.",
        "该时间段内没有未结算的调用。",
    ),
    "accuracy.not_yours": (
        "This page is for those who run the ledger.",
        "此页面仅供账本管理者使用。",
    ),
    "col.exact": ("Exact", "完全一致"),
    "col.error_median": ("Error (median)", "误差（中位数）"),
    "col.error_p95": ("Error (95 %)", "误差（95 %）"),
    "col.estimated": ("Estimated input tokens", "估算的输入 token"),
    "col.reported": ("Reported input tokens", "报告的输入 token"),
    "col.provider": ("Provider", "服务方"),
    "col.share_of_calls": ("Share of calls", "调用占比"),
}


TEXTS |= {
    # Exports and invoices.
    "exports.file": ("A file", "文件"),
    "exports.of": ("What", "内容"),
    "exports.usage": ("Sums", "汇总"),
    "exports.calls": ("Calls one by one", "逐次调用"),
    "exports.lines": ("Charge lines", "计费明细"),
    "exports.entries": ("Entries of the ledger", "账本分录"),
    "exports.focus": ("FOCUS (FinOps)", "FOCUS（FinOps）"),
    "exports.focus_version": ("Version of FOCUS", "FOCUS 版本"),
    "exports.focus.note": (
        "A row is a day, user, model, unit and price, in the columns of the FinOps Foundation's "
        "cost and usage specification. Calls without a price have no row.",
        "每行为一天、用户、模型、单位与价格，列名遵循 FinOps 基金会的成本与用量规范。"
        "没有价格的调用不在其中。",
    ),
    "exports.by": ("Grouped by", "分组"),
    "exports.format": ("Format", "格式"),
    "exports.download": ("Download {name}", "下载 {name}"),
    "exports.preview": ("The first {count} rows", "前 {count} 行"),
    "exports.same": (
        "The same file, byte for byte, from the command line:",
        "命令行可生成逐字节相同的文件：",
    ),
    "exports.too_many": (
        "{count} calls are too many for a browser. The command streams them:",
        "{count} 次调用对浏览器来说太多。请用命令行流式导出：",
    ),
    "exports.entries.note": (
        "Entries are of everything: user, model and tag do not narrow them.",
        "分录包含全部内容：不受用户、模型和标签筛选影响。",
    ),
    "exports.no_group": ("Choose at least one group.", "请至少选择一个分组。"),
    "group.day": ("day", "天"),
    "group.week": ("week", "周"),
    "group.month": ("month", "月"),
    "group.hour": ("hour", "小时"),
    "group.subject": ("user", "用户"),
    "group.model": ("model", "模型"),
    "group.provider": ("provider", "服务方"),
    "group.endpoint": ("endpoint", "端点"),
    "group.key": ("key", "密钥"),
    "group.outcome": ("outcome", "结果"),
    "group.basis": ("basis", "依据"),
    "invoices.title": ("Invoices", "账单"),
    "invoices.none": (
        "No invoice was issued: `meter invoice --subject NAME --period 2026-11 -o FILE.pdf` issues "
        "one.",
        "尚未开具账单：用 `meter invoice --subject 名称 --period 2026-11 -o 文件.pdf` 开具。",
    ),
    "invoices.none.own": ("No invoice was issued to you yet.", "尚未向你开具账单。"),
    "invoices.choose": ("Choose a row to see its lines.", "选择一行查看明细。"),
    "invoices.draft": ("What would be billed?", "将会收取多少？"),
    "invoices.draft.note": (
        "A draft: nothing is issued. `{command}` issues it.",
        "草稿，尚未开具。用 `{command}` 开具。",
    ),
    "invoices.draft.cannot": ("This cannot be billed: {error}", "无法开具：{error}"),
    "invoices.draft.nothing": (
        "There is nothing to bill {name} for {period}.",
        "{period} 没有可向 {name} 收取的内容。",
    ),
    "invoices.month": ("Month", "月份"),
    "invoices.unpriced": (
        "{count} calls have no amount yet and are not on it.",
        "{count} 次调用尚无金额，未列入。",
    ),
    "invoices.allowance": ("Free: {unit}", "免费额度：{unit}"),
    "invoices.volume": ("Volume price: {unit}", "用量阶梯价：{unit}"),
    "invoices.money": ("amount billed", "计费金额"),
    "invoices.voided": ("taken back by {number}", "已由 {number} 冲销"),
    "col.number": ("Number", "编号"),
    "col.kind": ("Kind", "类型"),
    "col.period": ("Period", "期间"),
    "col.issued": ("Issued", "开具时间"),
    "col.total": ("Total", "合计"),
    "col.remark": ("Remark", "备注"),
    "col.per": ("Per", "每"),
    "value.invoice": ("invoice", "账单"),
    "value.credit_note": ("credit note", "冲销单"),
    "value.draft": ("draft", "草稿"),
    "sum.subtotal": ("Subtotal", "小计"),
    "sum.tax": ("Tax", "税"),
    "sum.total": ("Total", "合计"),
    "sum.paid": ("Paid from credit", "预付余额已付"),
    "sum.due": ("Amount due", "应付金额"),
    # Bills.
    "bills.kind": ("What the files are", "文件类型"),
    "bills.openai": ("OpenAI", "OpenAI"),
    "bills.anthropic": ("Anthropic", "Anthropic"),
    "bills.about.openai": (
        "Saved answers of the organization's usage and costs endpoints (JSON).",
        "组织用量与费用接口的已保存应答（JSON）。",
    ),
    "bills.about.anthropic": (
        "Saved answers of the usage and cost reports (JSON).",
        "用量与费用报告的已保存应答（JSON）。",
    ),
    "bills.about.csv": (
        "A reseller's list of calls or of sums, one a row.",
        "经销商的逐次或汇总清单，每行一条。",
    ),
    "bills.about.balance": (
        "A balance read again and again: time and amount.",
        "多次读取的余额：时间与金额。",
    ),
    "bills.csv": ("CSV", "CSV"),
    "bills.balance": ("Balance", "余额"),
    "bills.kept": ("Bills in the folder", "文件夹中的账单"),
    "bills.kept.help": (
        "The files of the folder that the setting dashboard_bills names.",
        "设置 dashboard_bills 所指文件夹中的文件。",
    ),
    "bills.files": ("The bill's files", "账单文件"),
    "bills.provider": ("Who billed", "账单方"),
    "bills.provider.choose": ("Choose who billed", "请选择账单方"),
    "bills.provider.missing": (
        "found nobody chosen who billed, expected one",
        "尚未选择账单方",
    ),
    "bills.tolerance": ("How much money may differ", "允许的金额差异"),
    "bills.columns": ("Columns, if they are not found", "列名（无法识别时）"),
    "bills.columns.help": (
        "Ours=theirs, separated by commas: amount=Total,model=Model name.",
        "我方=对方，用逗号分隔：amount=Total,model=Model name。",
    ),
    "bills.currency": ("Currency, if the file does not say it", "货币（文件未注明时）"),
    "bills.compare": ("Compare", "比较"),
    "bills.first": (
        "Choose the files of a bill; they are read here and kept nowhere.",
        "请选择账单文件；文件只在此读取，不会保存。",
    ),
    "bills.agrees": (
        "The bill and the ledger agree within {tolerance}.",
        "账单与账本在 {tolerance} 以内一致。",
    ),
    "bills.differs": (
        "The bill and the ledger do not agree within {tolerance}.",
        "账单与账本的差异超过 {tolerance}。",
    ),
    "bills.sums": ("Both sides", "双方合计"),
    "bills.differences": ("Why they differ", "差异原因"),
    "bills.nothing": ("Nothing differs.", "没有差异。"),
    "bills.settles": (
        "The bill tells the usage of {count} calls that we did not see the end of: "
        "`meter reconcile … --settle` settles them.",
        "账单给出了 {count} 次我们未见结束的调用的用量：用 `meter reconcile … --settle` 结算。",
    ),
    "bills.unreadable": ("This bill cannot be read: {error}", "无法读取此账单：{error}"),
    "bills.no_calls": ("No single call stands behind this one.", "此项没有对应的单次调用。"),
    "bills.show_call": ("Show this call", "查看该调用"),
    "head.until": ("To", "至"),
    "col.sum": ("Sum", "项目"),
    "col.theirs": ("Theirs", "对方"),
    "col.ours": ("Ours", "我方"),
    "col.difference": ("Difference", "差异"),
    "col.what": ("What was found", "发现"),
    "reason.not_seen": ("not in our records", "我方无记录"),
    "reason.not_billed": ("not billed", "未计费"),
    "reason.billed_twice": ("billed twice", "重复计费"),
    "reason.unsettled": ("unsettled here", "我方未结算"),
    "reason.estimated": ("estimated here", "我方为估算"),
    "reason.outside": ("not one of our keys", "非我方密钥"),
    "reason.wrong_price": ("another price", "价格不同"),
    "reason.unpriced": ("no price here", "我方无价格"),
    "reason.cached_tokens": ("cached tokens", "缓存 token"),
    "reason.tier": ("service tier", "服务档"),
    "reason.tokens": ("token counts", "token 数"),
    "reason.boundary": ("edge of the interval", "时间边界"),
    "reason.clock": ("clocks differ", "时钟不同"),
    "reason.rounding": ("rounding", "舍入"),
    "reason.top_up": ("money added", "充值"),
    "reason.unexplained": ("no reason found", "原因不明"),
}


def language() -> str:
    """Return the session's language: the chosen one, else the browser's, else English."""
    given: str | None = st.session_state.get("lang")
    if given in LANGUAGES:
        return given
    locale = st.context.locale or ""
    return "zh" if locale.lower().startswith("zh") else "en"


def t(name: str, /, **values: object) -> str:
    """Return the text of a name in the session's language, with its gaps filled."""
    text = TEXTS[name][list(LANGUAGES).index(language())]
    return text.format(**values) if values else text


def value(name: object) -> str:
    """Return how a value that the ledger writes is called; unknown ones as they are."""
    if name is None:
        return "–"
    return t(f"value.{name}") if f"value.{name}" in TEXTS else str(name)
