"""What is put aside under pressure, how long it keeps, and how it is given back."""
