"""What runs inside the enclave and in owners' hands: formats, sealing, privacy, receipts."""
