"""What lies beside the table and is owed to it: the ledger and its spill files."""
