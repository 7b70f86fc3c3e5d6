"""Who calls: keys, tenants, tiers."""
