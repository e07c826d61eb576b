"""Values as they are checked and stored: money, periods, tags, the kinds of fields."""
