//! `sublora`: certified compression of GPT-2-class language models.
//!
//! The command line parses, calls the `sublora` crate, and prints: stdout is data, stderr is progress
//! and messages. Exit codes: 0 done, 1 the answer is no, 2 the question was wrong.

#![expect(clippy::print_stderr, reason = "a command line prints")]

mod args;
mod bars;
mod commands;
mod device;
mod failure;
mod memory;
mod table;

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

/// Keeps freed tensors for the next ones: a training step allocates the same sizes over and over.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use crate::args::{Args, Command};
use crate::commands::{
    Answer, certify, corpora, inspect, ortho, qat, quantize, quickstart, report, schedule,
    spectral, sweep, train,
};
use crate::failure::Failure;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args).and_then(say) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(failure) => {
            complain(&failure);
            ExitCode::from(if failure.interrupted { 130 } else { 2 })
        }
    }
}

fn complain(failure: &Failure) {
    eprintln!("error: {}", failure.message);
    eprintln!("\nhint: {}", failure.hint);
}

/// Prints an answer and passes on whether it is a yes. A reader who left, like `head`, is no failure.
fn say(Answer { text, yes, refusal }: Answer) -> Result<bool, Failure> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(error, "stdout has to take what is printed"))
        }
        _ => {
            refusal.iter().for_each(complain);
            Ok(yes)
        }
    }
}

fn run(args: &Args) -> Result<Answer, Failure> {
    match &args.command {
        Command::Quickstart(quickstart) => quickstart::run(args, quickstart),
        Command::Corpus(command) => corpora::run(args, command),
        Command::Train(train) => train::train(args, train),
        Command::Compress(run) => train::compress(args, run),
        Command::Certify(certify) => certify::certify(args, certify),
        Command::Verify(verify) => certify::verify(args, verify),
        Command::Sweep(sweep) => sweep::run(args, sweep),
        Command::Report(of_sweep) => report::run(args, of_sweep),
        Command::Eval(run) => inspect::eval(args, run),
        Command::Generate(generate) => inspect::generate(args, generate),
        Command::Quantize(quantize) => quantize::run(args, quantize),
        Command::Spectral(spectral) => spectral::run(args, spectral),
        Command::Qat(command) => qat::run(args, command),
        Command::Ortho(command) => ortho::run(args, command),
        Command::Schedule(command) => schedule::run(args, command),
        Command::List { what } => inspect::list(args, *what),
        Command::Completions { shell } => Ok(inspect::completions(*shell)),
    }
}
