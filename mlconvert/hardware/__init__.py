"""What a machine is (fingerprints), and what may be loaded where (rules over them). No framework is imported here."""
