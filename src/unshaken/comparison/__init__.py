"""Many runs become one table with error bars, and a report."""
