//! Placeholder, replaced in minutes.

/// Placeholder.
pub struct PowerLaw;
/// Placeholder.
pub struct KsFit;
/// Placeholder.
pub struct KsScratch;
/// Placeholder.
pub enum FitStatus {}
