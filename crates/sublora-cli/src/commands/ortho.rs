//! `sublora ortho`.

use crate::args::{Args, Ortho};
use crate::commands::{Answer, ortho_diagnose, ortho_split, ortho_sweep};
use crate::failure::Failure;

pub(crate) fn run(args: &Args, command: &Ortho) -> Result<Answer, Failure> {
    match command {
        Ortho::Diagnose(diagnose) => ortho_diagnose::diagnose(args, diagnose),
        Ortho::Split(split) => ortho_split::split(args, split),
        Ortho::Sweep(sweep) => ortho_sweep::run(args, sweep),
    }
}
