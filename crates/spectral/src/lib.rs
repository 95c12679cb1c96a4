#![doc = include_str!("../README.md")]

mod error;
mod power_law;

pub use error::SpectrumError;
pub use power_law::{FitFailure, KsFit, KsScratch, PowerLaw};
