"""What lies beside the table and is outstanding to it: the ledger and its spill files."""
