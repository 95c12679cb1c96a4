//! Runs, bases and files that fail or are not what they were.

use super::*;

#[test]
fn a_run_that_fails_stops_no_other_and_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = corpus(dir.path());
    let sweep = sweep(dir.path().join("sweep"), &corpus, &[NOWHERE, "seeds=[3]"], &());
    let record = sweep.run(jobs(2)).unwrap();
    assert_eq!(statuses(&record), [Finished, Failed]);
    let failed = sweep.folder.join("runs/nowhere-d16-s3");
    let text = std::fs::read_to_string(failed.join("failed.txt")).unwrap();
    assert!(text.contains("[\"none\"]") && text.ends_with("\n\nhint: none\n"), "{text}");
    assert_eq!(record.runs[1].failure.as_deref(), Some(text.as_str()));
    let left: Vec<_> = std::fs::read_dir(&failed).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    // The others are summed up, and the choice is among all.
    let finished: Vec<_> = record.groups.iter().map(|it| (it.runs, it.finished)).collect();
    assert_eq!(finished, [(1, 1), (1, 0)]);
    assert_eq!(record.choice.configurations, 2);
    // What was in the way is gone.
    std::fs::write(sweep.folder.join("runs/plain-d16-s3/failed.txt"), "left over").unwrap();
    std::fs::remove_file(sweep.folder.join("runs/plain-d16-s3/certificate.json")).unwrap();
    let again = sweep.run(jobs(1)).unwrap();
    assert_eq!(statuses(&again), [Finished, Failed]);
    assert!(!sweep.folder.join("runs/plain-d16-s3/failed.txt").exists());
}

#[test]
fn a_run_is_finished_with_its_own_certificate_and_files_only() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = corpus(dir.path());
    let random = ["seeds=[3]", "run.base={ kind = \"random\" }", "run.certify.documents=6"];
    let sweep = sweep(dir.path().join("sweep"), &corpus, &random, &());
    let whole = sweep.run(jobs(1)).unwrap();
    let (ours, other) = ("runs/plain-d16-s3", "runs/dense-d16-s3");
    let [ours, other] = [ours, other].map(|it| sweep.folder.join(it));
    let made = files(&ours);
    let task = &sweep.tasks().unwrap()[0];
    let certify = |change: &dyn Fn(&mut crate::config::CertifyConfig)| {
        let mut run = sweep.as_run(task, &());
        change(&mut run.config.certify);
        run.certify(0).unwrap();
    };
    let copy = |file: &str| {
        std::fs::copy(other.join(file), ours.join(file)).unwrap();
    };
    let remove = |file: &str| std::fs::remove_file(ours.join(file)).unwrap();
    let cases: [(&dyn Fn(), &str); 11] = [
        (
            &|| certify(&|it| it.seed = 7),
            "`document-level sample` was 6 units, whole, of seed 7, and is 6 units, whole, of seed 0 now",
        ),
        (&|| certify(&|it| it.documents = Some(5)), "was 5 units, whole, of seed 0"),
        (
            &|| certify(&|it| it.unit = crate::config::Units::Document),
            "`token-level sample` was none",
        ),
        (&|| certify(&|it| it.scored = crate::config::Scored::Block), "was 6 units, a block each"),
        (&|| certify(&|it| it.stride = 16), "`certify.stride` was 16, and is 8 now"),
        (&|| certify(&|it| it.top_k = vec![2]), "`certify.top_k` was [2], and is [1] now"),
        (&|| certify(&|it| it.configurations = 1), "`certify.configurations` was 1, and is 2 now"),
        (&|| remove("model.sublora"), "cannot read `"),
        (&|| copy("scores.safetensors"), "scores.safetensors` is another file"),
        (&|| remove("compression.json"), "compression.json"),
        (
            &|| {
                copy("model.sublora");
                copy("scores.safetensors");
                copy("certificate.json");
            },
            "`model.sublora` was trained with other settings",
        ),
    ];
    for (damage, reason) in cases {
        damage();
        let record = sweep.collect().unwrap();
        assert_eq!(statuses(&record), [Failed, Finished], "{reason}");
        let failure = record.runs[0].failure.as_deref().unwrap();
        assert!(failure.contains(reason), "{failure}\nfor {reason}");
        let is_other = |it: &crate::Best| it.run == "dense-d16-s3";
        assert!(record.choice.best.iter().all(is_other), "{:?}", record.choice.best);
        // The next call makes it what it was.
        assert_eq!(sweep.run(jobs(1)).unwrap(), whole, "{reason}");
        assert!(files(&ours) == made, "{reason}");
    }
    // What cannot be made again is left alone and said.
    std::fs::write(ours.join("seconds.json"), "none").unwrap();
    let record = sweep.collect().unwrap();
    assert_eq!(statuses(&record), [Failed, Finished]);
    let failure = record.runs[0].failure.as_deref().unwrap();
    assert!(failure.contains("is no valid record of seconds"), "{failure}");
}

#[test]
fn a_base_that_fails_is_the_failure_of_its_runs_only() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = corpus(dir.path());
    let sweep = sweep(dir.path().join("sweep"), &corpus, &[], &());
    std::fs::create_dir_all(sweep.folder.join("bases/s3/base")).unwrap(); // not ours
    let record = sweep.run(jobs(2)).unwrap();
    assert_eq!(statuses(&record), [Failed, Finished, Failed, Finished]);
    let bases: Vec<_> = record.bases.iter().map(|it| (it.seed, it.status)).collect();
    assert_eq!(bases, [(3, Failed), (4, Finished)]);
    let said = record.bases[0].failure.as_deref().unwrap();
    assert!(said.contains("already holds a run"), "{said}");
    let said = record.runs[0].failure.as_deref().unwrap();
    assert!(said.contains("bases/s3` holds no base"), "{said}");
    std::fs::remove_dir_all(sweep.folder.join("bases/s3/base")).unwrap();
    assert_eq!(statuses(&sweep.run(jobs(2)).unwrap()), [Finished; 4]);
    assert!(!sweep.folder.join("bases/s3/failed.txt").exists());
}

#[test]
fn a_panic_is_the_failure_of_its_task_only() {
    struct Panicking;
    impl SweepProgress for Panicking {
        fn tasks(&self, _done: usize, _total: usize) {}

        fn begin<'a>(&'a self, name: &str) -> Box<dyn Progress + 'a> {
            struct Ear(bool);
            impl Progress for Ear {
                fn begin(&self, task: &str, _unit: &'static str, _total: u64) {
                    assert!(!(self.0 && task == "train"), "out of memory");
                }

                fn update(&self, _done: u64, _note: &str) -> ControlFlow<()> {
                    ControlFlow::Continue(())
                }

                fn end(&self) {}
            }
            Box::new(Ear(name == "plain-d16-s3"))
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let corpus = corpus(dir.path());
    let sweep = sweep(dir.path().join("sweep"), &corpus, &["seeds=[3]"], &Panicking);
    let record = sweep.run(jobs(2)).unwrap();
    assert_eq!(statuses(&record), [Failed, Finished]);
    let said = record.runs[0].failure.as_deref().unwrap();
    assert!(said.starts_with("the program gave up: out of memory"), "{said}");
}
