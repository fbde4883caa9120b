"""What earlier tasks have used."""
