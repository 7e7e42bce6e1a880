//! A topology as a small text drawing, for plans and consoles.
