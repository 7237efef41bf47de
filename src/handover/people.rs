//! People: granting, changing and taking roles, and what becomes of them when a site changes hands.
