"""Values and how they are checked: money, periods, what a request claims, the fields of the admin API's objects."""
