//! stub
/// S
pub struct Synchronizer;
