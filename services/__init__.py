"""igbot: answers Instagram direct messages for business accounts."""
