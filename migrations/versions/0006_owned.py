"""Make the table of who owns which stored object of an upstream; give keys a role.

Frozen: a later change of the schema is a later migration.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "owned_objects",
        sa.Column("upstream", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("watched_us", sa.BigInteger()),
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("notes", sa.Text()),
        sa.PrimaryKeyConstraint("upstream", "id", name="pk_owned_objects"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_owned_objects_subject_family_created_us",
        "owned_objects",
        ["subject", "family", "created_us"],
    )
    op.create_index(
        "ix_owned_objects_watched_us",
        "owned_objects",
        ["watched_us"],
        sqlite_where=sa.text("watched_us IS NOT NULL"),
        postgresql_where=sa.text("watched_us IS NOT NULL"),
    )

    op.add_column("keys", sa.Column("role", sa.Text()))


def downgrade() -> None:
    """Remove the table, nobody owns anything any more, and the role of keys."""
    op.drop_column("keys", "role")
    op.drop_table("owned_objects")
