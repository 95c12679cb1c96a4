//! `sublora sweep`.

use std::path::Path;

use sublora::bounds::Unit;
use sublora::{
    Error, Group, MetricName, RunStatus, Spread, SweepConfig, SweepLimits, SweepRecord, TaskEnd,
};

use crate::args::{Args, Sweep};
use crate::bars::SweepBars;
use crate::commands::{Answer, corpora, now, read_config};
use crate::failure::Failure;
use crate::{device, memory, table};

pub(crate) fn run(args: &Args, sweep: &Sweep) -> Result<Answer, Failure> {
    let hint = "`--config` names a TOML file like `configs/allocation-small.toml`";
    let text = read_config(&sweep.config, hint)?;
    let config = SweepConfig::parse(&text, &sweep.set)?;
    let corpus = corpora::open(&sweep.corpus)?;
    let bars = SweepBars::new();
    let of_config = sublora::Sweep {
        folder: sweep.out.clone(),
        config,
        corpus: &corpus,
        device: device::open(&args.device)?,
        device_name: args.device.clone(),
        now: &now,
        progress: &bars,
        explain: &explain,
    };
    let record = if sweep.slurm {
        return slurm(args, sweep, &of_config);
    } else if let Some(place) = sweep.task {
        return task(args, &of_config, place);
    } else if sweep.collect {
        of_config.collect()?
    } else {
        let limits = limits(args, sweep, &of_config)?;
        of_config.run(limits).map_err(failure)?
    };
    let yes = record.runs.iter().all(|run| run.status == RunStatus::Finished);
    let said =
        if args.json { Answer::json(&record)? } else { Answer::done(summary(&record, &sweep.out)) };
    Ok(Answer { yes, ..said })
}

/// What stopped the whole sweep.
fn failure(error: Error) -> Failure {
    let hint = match error {
        Error::Interrupted => "the same command goes on",
        Error::RunExists(_) => "`--out` names a folder for the sweep alone",
        error => return error.into(),
    };
    Failure { hint: hint.to_owned(), ..error.into() }
}

/// What `failed.txt` says.
fn explain(error: &Error) -> String {
    let Failure { message, hint, .. } = Failure::from(error);
    format!("{message}\n\nhint: {hint}\n")
}

/// How much may run at once; on stderr what will be too large for it.
fn limits(
    args: &Args,
    sweep: &Sweep,
    of_config: &sublora::Sweep<'_>,
) -> Result<SweepLimits, Failure> {
    let on_the_cpu = args.device == "flex" || args.device.starts_with("flex:");
    let free = if on_the_cpu { memory::most_of_it() } else { None };
    let memory = sweep.memory.or(free);
    if memory.is_none() && sweep.jobs.get() > 1 {
        let message = format!("how much memory `{}` has is not known here", args.device);
        return Err(Failure::new(message, "`--memory GIB` says what several runs may take"));
    }
    let (name, bytes) = of_config.largest_task()?;
    if let Some(most) = memory.filter(|&most| most < bytes) {
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        eprintln!(
            "note: {name} is estimated to take {:.1} GiB, more than the {:.1} GiB that runs may take; \
             it runs by itself",
            gib(bytes),
            gib(most)
        );
    }
    Ok(SweepLimits { jobs: sweep.jobs, memory })
}

fn slurm(args: &Args, sweep: &Sweep, of_config: &sublora::Sweep<'_>) -> Result<Answer, Failure> {
    let hint = "the scripts need the whole path of the program and of its folders";
    let no_path = |error| Failure::new::<std::io::Error>(error, hint);
    let absolute = |path: &Path| -> Result<String, Failure> {
        Ok(std::path::absolute(path).map_err(no_path)?.to_string_lossy().into_owned())
    };
    let program = std::env::current_exe().map_err(no_path)?;
    let command = [
        program.to_string_lossy().into_owned(),
        "sweep".to_owned(),
        "--config".to_owned(),
        absolute(&sweep.out.join("sweep.toml"))?, // with every `--set`
        "--corpus".to_owned(),
        absolute(&sweep.corpus)?,
        "--out".to_owned(),
        absolute(&sweep.out)?,
        "--device".to_owned(),
        args.device.clone(),
    ];
    let submit = of_config.write_slurm(&command).map_err(failure)?;
    let tasks = of_config.tasks()?.len();
    if args.json {
        Answer::json(&serde_json::json!({ "submit": submit, "tasks": tasks }))
    } else {
        Ok(Answer::done(format!("{tasks} tasks\nsubmit with  {}", submit.display())))
    }
}

fn task(args: &Args, of_config: &sublora::Sweep<'_>, place: usize) -> Result<Answer, Failure> {
    let tasks = of_config.tasks()?;
    let Some(name) = tasks.get(place).map(sublora::SweepTask::name) else {
        let message = format!("there is no task {place}, expected 0 to {}", tasks.len() - 1);
        return Err(Failure::new(message, "the bases come first, then the runs"));
    };
    let end = of_config.run_task(place).map_err(failure)?;
    let failure = match end {
        TaskEnd::Done => None,
        TaskEnd::Failed(text) => Some(text),
    };
    let yes = failure.is_none();
    let said = if args.json {
        Answer::json(&serde_json::json!({ "task": name, "failure": failure }))?
    } else {
        Answer::done(match failure {
            None => format!("{name}: done"),
            Some(text) => format!("{name}: failed: {}", text.trim_end()),
        })
    };
    Ok(Answer { yes, ..said })
}

/// Means over seeds, the best runs, and what did not finish.
fn summary(record: &SweepRecord, folder: &Path) -> String {
    let mut parts = vec![means(&record.groups)];
    let best = best(record);
    if !best.is_empty() {
        parts.push(best);
    }
    let unfinished = unfinished(record);
    if !unfinished.is_empty() {
        parts.push(unfinished);
    }
    parts.push(format!(
        "table   {}\nrecord  {}",
        folder.join("runs.csv").display(),
        folder.join("sweep.json").display()
    ));
    parts.join("\n\n")
}

fn means(groups: &[Group]) -> String {
    let mut rows = table::new([
        "mode",
        "d",
        "runs",
        "K (bits)",
        "held out",
        "certified, new tokens",
        "certified, new documents",
        "seconds",
    ]);
    let spread = |it: Option<Spread>, decimals: usize| match it {
        None => "-".to_owned(),
        Some(Spread { mean, deviation: None }) => format!("{mean:.decimals$}"),
        Some(Spread { mean, deviation: Some(deviation) }) => {
            format!("{mean:.decimals$} ± {deviation:.decimals$}")
        }
    };
    for group in groups {
        let bound = |unit| {
            let mut bounds = group.bounds.iter();
            let bits = bounds.find(|it| it.unit == unit && it.metric == MetricName::BitsPerToken);
            spread(bits.map(|it| it.bound), 4)
        };
        rows.add_row([
            group.mode.clone(),
            group.intrinsic_dim.to_string(),
            format!("{} of {}", group.finished, group.runs),
            spread(group.code_length, 1),
            spread(group.held_out, 4),
            bound(Unit::Token),
            bound(Unit::Document),
            spread(group.seconds, 1),
        ]);
    }
    format!("{rows}\nmeans and standard deviations over seeds; losses in bits per token")
}

/// Of every level and metric, the run with the least bound, and the price of choosing it.
fn best(record: &SweepRecord) -> String {
    let mut rows = table::new([
        "least bound of all runs",
        "run",
        "bound",
        "had it been the only run",
        "K (bits)",
        "of them for the choice",
    ]);
    for best in &record.choice.best {
        rows.add_row([
            format!("new {}s, {}", best.unit, table::metric(best.metric, best.k)),
            best.run.clone(),
            table::rounded_up(best.bound),
            table::rounded_up(best.bound_alone),
            best.code_length.to_string(),
            best.code_length.saturating_sub(best.code_length_alone).to_string(),
        ]);
    }
    if record.choice.best.is_empty() {
        return String::new();
    }
    let (runs, configurations) = (record.choice.runs, record.choice.configurations);
    let before = match configurations / runs.max(1) {
        1 => String::new(),
        before => format!(", each among {before} settings"),
    };
    format!(
        "{rows}\nevery certificate pays for the choice among {runs} runs{before}, so the best may be quoted"
    )
}

/// What failed, with the first line of why, and what has not come to an end.
fn unfinished(record: &SweepRecord) -> String {
    let bases = record.bases.iter();
    let bases = bases.map(|it| (format!("base s{}", it.seed), &it.path, it.status, &it.failure));
    let runs = record.runs.iter().map(|it| (it.name.clone(), &it.path, it.status, &it.failure));
    let tasks = bases.chain(runs).filter(|(_, _, status, _)| *status != RunStatus::Finished);
    let mut rows = table::new(["not finished", "folder", "status", "because"]);
    let (mut count, mut failed) = (0, 0);
    for (name, path, status, failure) in tasks {
        let reason = failure.as_deref().and_then(|it| it.lines().next()).unwrap_or_default();
        rows.add_row([name, path.clone(), status.name().to_owned(), reason.to_owned()]);
        count += 1;
        failed += usize::from(status == RunStatus::Failed);
    }
    match (count, failed) {
        (0, _) => String::new(),
        (_, 0) => rows.to_string(),
        _ => format!(
            "{rows}\n`sweep.json` says in full why, and what to do; the same command tries again"
        ),
    }
}
