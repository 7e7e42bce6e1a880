//! Under way.
/// Under way.
pub struct Record;
