"""Make the tables of owned objects of the gateway.

Frozen: a later change of the schema is a later migration.
"""

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""


def downgrade() -> None:
    """Remove the tables."""
