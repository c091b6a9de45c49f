"""What stays true when much goes wrong at once: nothing leaks, nothing is lost, nothing comes twice."""
