//! `sublora ortho`.

use crate::args::{Args, Ortho};
use crate::commands::{Answer, ortho_sweep};
use crate::failure::Failure;

pub(crate) fn run(args: &Args, command: &Ortho) -> Result<Answer, Failure> {
    match command {
        Ortho::Sweep(sweep) => ortho_sweep::run(args, sweep),
    }
}
