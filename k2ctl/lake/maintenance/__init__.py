"""Keeping the table quick: compaction, expiry and orphan removal; and its status."""
