//! Progress bars on stderr, silent when that is no terminal, and a clean end on Ctrl-C.

use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Draws what a pipeline reports.
pub(crate) struct Bars {
    bar: Mutex<ProgressBar>,
    /// The bars that it stands among, and the name of what it is about.
    among: Option<(MultiProgress, String)>,
}

impl Bars {
    /// From here on Ctrl-C ends the work at its next safe point, and a second one at once.
    pub(crate) fn new() -> Self {
        // A second handler is an error; the first one does what is needed.
        let _ = ctrlc::set_handler(|| {
            if INTERRUPTED.swap(true, Ordering::Relaxed) {
                std::process::exit(130); // files are whole or not there at any moment
            }
        });
        Self { bar: Mutex::new(ProgressBar::hidden()), among: None }
    }

    fn flow() -> ControlFlow<()> {
        if INTERRUPTED.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn bar(&self) -> std::sync::MutexGuard<'_, ProgressBar> {
        self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn replace(&self, bar: ProgressBar, task: &str, template: &str) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let (bar, prefix) = match &self.among {
            None => (bar, task.to_owned()),
            Some((bars, name)) => (bars.add(bar), format!("{name}: {task}")),
        };
        bar.set_prefix(prefix);
        *self.bar() = bar;
    }
}

impl sublora::Progress for Bars {
    fn begin(&self, task: &str, unit: &'static str, total: u64) {
        let template =
            format!("{{prefix}} {{wide_bar}} {{pos}}/{{len}} {unit} {{msg}} ETA {{eta}}");
        self.replace(ProgressBar::new(total), task, &template);
    }

    fn update(&self, done: u64, note: &str) -> ControlFlow<()> {
        let bar = self.bar();
        bar.set_position(done);
        bar.set_message(note.to_owned());
        Self::flow()
    }

    fn end(&self) {
        self.bar().finish_and_clear();
    }
}

impl sublora::corpus::Progress for Bars {
    fn report(&self, so_far: &sublora::corpus::Counts) -> ControlFlow<()> {
        if self.bar().length() != Some(so_far.bytes_total) {
            let template =
                "corpus {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {msg} ETA {eta}";
            self.replace(ProgressBar::new(so_far.bytes_total), "corpus", template);
        }
        let bar = self.bar();
        bar.set_position(so_far.bytes_read);
        bar.set_message(format!("{} documents, {} tokens", so_far.documents, so_far.tokens));
        if so_far.bytes_read >= so_far.bytes_total {
            bar.finish_and_clear();
        }
        Self::flow()
    }

    fn skipped(&self, document: &sublora::corpus::BadDocument) {
        self.bar().suspend(|| eprintln!("skipped: {document}"));
    }
}

/// A bar for the tasks of a sweep, and one for each that is under way.
pub(crate) struct SweepBars {
    bars: MultiProgress,
    tasks: ProgressBar,
}

impl SweepBars {
    /// As [`Bars::new`].
    pub(crate) fn new() -> Self {
        let _ = Bars::new(); // what Ctrl-C does
        let bars = MultiProgress::new();
        Self { tasks: bars.add(ProgressBar::new(0)), bars }
    }
}

impl sublora::SweepProgress for SweepBars {
    fn tasks(&self, done: usize, total: usize) {
        if self.tasks.length() != Some(total as u64) {
            if let Ok(style) = ProgressStyle::with_template("sweep {wide_bar} {pos}/{len} tasks") {
                self.tasks.set_style(style);
            }
            self.tasks.set_length(total as u64);
        }
        self.tasks.set_position(done as u64);
        if done == total {
            self.tasks.finish_and_clear();
        }
    }

    fn begin<'a>(&'a self, name: &str) -> Box<dyn sublora::Progress + 'a> {
        let among = Some((self.bars.clone(), name.to_owned()));
        Box::new(Bars { bar: Mutex::new(ProgressBar::hidden()), among })
    }
}
