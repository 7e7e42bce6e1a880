//! Verdicts from counts: exact intervals, planned sample sizes, and three outcomes instead of two.
//!
//! A check that accepts a measurement because nothing was found against it passes more easily the less it
//! measures. The checks here do the opposite: they pass only when the measurement proves that the truth lies
//! within a stated margin, and they say how many samples such a proof needs. See [`split`] for the arithmetic.
//!
//! Pure arithmetic: no input, no output, no clock, no random numbers, and nothing about meshes.

pub mod binomial;
mod bisection;
pub mod early;
pub mod outcome;
pub mod quantile;
pub mod rate;
mod region;
pub mod split;
pub mod text;
pub mod timeline;

pub use binomial::{Interval, clopper_pearson};
pub use early::EarlySplit;
pub use outcome::Outcome;
pub use quantile::{QuantileEstimate, QuantilePlan};
pub use rate::{RatePlan, RateVerdict};
pub use split::{CategoryVerdict, ErrorRates, PlanError, SplitPlan, SplitVerdict, Target};
