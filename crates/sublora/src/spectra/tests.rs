use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use counter_rng::Key;
use safetensors::tensor::{Dtype, TensorView};
use spectral::{Bootstrap, ChangeColumns, Comparison, Estimation, FitFailure, Mode};
use tempfile::TempDir;

use super::*;

mod interrupted;
mod stacks;

fn normal(seed: u64, len: usize) -> Vec<f32> {
    let mut values = vec![0.0; len];
    Key::from_seed(seed).fill_normal(0, &mut values);
    values
}

/// A checkpoint of these tensors of `F32`.
fn checkpoint(tensors: &[(&str, &[usize], Vec<f32>)]) -> (TempDir, std::path::PathBuf) {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, _, values)| values.iter().flat_map(|it| it.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap())
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    (folder, path)
}

fn random(
    name: &'static str,
    shape: &'static [usize],
) -> (&'static str, &'static [usize], Vec<f32>) {
    (name, shape, normal(name.len() as u64, shape.iter().product()))
}

/// A model with one of everything.
fn model() -> (TempDir, std::path::PathBuf) {
    let mut broken = normal(9, 24 * 12);
    broken[7] = f32::NAN;
    checkpoint(&[
        random("wte.weight", &[60, 24]),
        random("h.0.attn.c_attn.weight", &[24, 72]),
        random("h.0.ln_1.weight", &[24]),
        random("h.1.attn.c_attn.weight", &[24, 72]),
        random("conv.weight", &[16, 12, 3, 3]),
        random("conv1d.weight", &[16, 12, 3]),
        random("experts.weight", &[2, 24, 12]),
        random("tiny.weight", &[24, 4]),
        random("rnn.weight_hh_l0", &[48, 12]),
        random("rnn.weight_ih_l0", &[48, 20]),
        ("broken.weight", &[24, 12], broken),
    ])
}

fn quick() -> SpectralStudy {
    SpectralStudy {
        estimation: Estimation {
            bootstrap: Bootstrap { replicates: 20, ..Bootstrap::default() },
            ..Estimation::default()
        },
        comparison: Comparison { noise_replicates: 3, ..Comparison::default() },
        ..SpectralStudy::default()
    }
}

/// The files of a report, by name.
fn written(report: &SpectralReport, folder: &Path) -> Vec<(OsString, Vec<u8>)> {
    report.write(folder).unwrap();
    let files = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mut files: Vec<_> =
        files.map(|it| (it.file_name(), fs::read(it.path()).unwrap())).collect();
    files.sort();
    files
}

fn coverage(report: &SpectralReport) -> BTreeMap<&str, (usize, &str)> {
    report.coverage.iter().map(|it| (it.tensor.as_str(), (it.matrices, it.note.as_str()))).collect()
}

#[test]
fn every_tensor_is_analysed_or_listed_with_its_reason() {
    let (_folder, path) = model();
    let strict = quick().run(&path, None, &()).unwrap();
    let found = coverage(&strict);
    assert_eq!(found.len(), 11);
    assert_eq!(found["wte.weight"], (1, ""));
    assert_eq!(found["conv.weight"], (1, ""));
    assert_eq!(found["conv1d.weight"], (1, ""));
    assert_eq!(found["experts.weight"], (2, ""));
    // Gates of PyTorch's LSTM, four of 12 rows each.
    assert_eq!((found["rnn.weight_hh_l0"].0, found["rnn.weight_ih_l0"].0), (4, 4));
    assert_eq!(found["h.0.ln_1.weight"], (0, "one dimension"));
    assert_eq!(found["tiny.weight"], (0, "fewer eigenvalues than 8: 4"));
    let expected = "no spectrum of `broken.weight`: entry 7 is NaN, not a finite number";
    assert_eq!(found["broken.weight"], (1, expected));
    assert_eq!(
        (strict.summary.analysed, strict.summary.skipped, strict.summary.nonfinite),
        (9, 2, 1)
    );

    let compat = SpectralStudy { mode: Mode::Compat, ..quick() }.run(&path, None, &()).unwrap();
    let found = coverage(&compat);
    assert_eq!(found["rnn.weight_hh_l0"], (0, "compat: the name does not end in `.weight`"));
    assert_eq!(found["experts.weight"], (0, "3 dimensions"));
    assert_eq!(found["conv.weight"], (1, ""));

    let split = SpectralStudy { split_qkv: true, kernels: Kernels::Slices, ..quick() };
    let found = split.run(&path, None, &()).unwrap();
    let names: Vec<&str> = found.matrices.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names.iter().filter(|it| it.starts_with("conv.weight[")).count(), 9);
    let thirds: Vec<&&str> = names.iter().filter(|it| it.starts_with("h.0")).collect();
    assert_eq!(
        thirds,
        [&"h.0.attn.c_attn.weight[q]", &"h.0.attn.c_attn.weight[k]", &"h.0.attn.c_attn.weight[v]"]
    );
    assert!(
        found
            .matrices
            .iter()
            .filter(|it| it.name.contains("c_attn"))
            .all(|it| it.shape == [24, 24])
    );
}

#[test]
fn variants_come_after_the_original_and_failed_fits_enter_no_mean() {
    let (_folder, path) = model();
    let study = SpectralStudy {
        widths: ["8", "2"].map(|it| it.parse().map(BitWidth::new).unwrap().unwrap()).to_vec(),
        granularities: vec![Granularity::Tensor, "group:12".parse().unwrap()],
        ..quick()
    };
    let report = study.run(&path, None, &()).unwrap();
    let variants: Vec<&str> =
        report.summary.variants.iter().map(|it| it.variant.as_str()).collect();
    let expected = ["original", "8bit-tensor", "2bit-tensor", "8bit-group:12", "2bit-group:12"];
    assert_eq!(variants, expected);
    let of = |name: &str| report.matrices.iter().find(|it| it.name == name).unwrap();
    // 12 divides 24 inputs, and not 16 of a kernel, which says so.
    assert_eq!(of("h.0.attn.c_attn.weight").record.variants.len(), 5);
    let attention = &of("h.0.attn.c_attn.weight").record;
    let two = attention.variants[2].change.as_ref().unwrap();
    assert_eq!((two.levels, two.collapsed), (3, true), "three levels");
    let eight = attention.variants[1].change.as_ref().unwrap();
    assert!(eight.snr_db.unwrap() > 25.0 && !eight.collapsed);
    assert!(attention.variants[0].change.is_none());
    // What has no spectrum has no variant, and is in no mean.
    let broken = &of("broken.weight").record;
    assert_eq!(broken.variants.len(), 1);
    assert_eq!(broken.variants[0].alpha(), Err(FitFailure::NonFinite));
    for named in &report.summary.variants {
        let it = &named.summary;
        assert!(it.compared <= it.ok && it.ok + it.failed == it.layers, "{named:?}");
    }
    assert!(report.summary.variants[2].summary.collapsed >= 10);
}

#[test]
fn a_second_call_goes_on_and_writes_the_same_bytes() {
    let (folder, path) = model();
    let study = SpectralStudy { widths: vec![BitWidth::new(4).unwrap()], ..quick() };
    let out = |name: &str| folder.path().join(name);
    let run = |name: &str, cache: &Path| {
        written(&study.run(&path, Some(cache), &()).unwrap(), &out(name))
    };
    let first = run("first", &out("cache"));
    let names: Vec<_> = first.iter().map(|it| it.0.to_str().unwrap()).collect();
    let expected = [
        "coverage.csv",
        "report.html",
        "spectral.csv",
        "spectral.json",
        "spectral.parquet",
        "summary.json",
    ];
    assert_eq!(names, expected);
    let records = || fs::read_dir(out("cache")).unwrap().count();
    let kept = records();
    assert_eq!(kept, 16, "a record a matrix");
    assert_eq!(run("second", &out("cache")), first);
    assert_eq!(run("third", &out("other")), first, "from nothing");
    assert_eq!(records(), kept);
    // Other settings, other records; a record that cannot be read is made anew.
    SpectralStudy { seed: 1, ..study.clone() }.run(&path, Some(&out("cache")), &()).unwrap();
    assert_eq!(records(), 2 * kept);
    for entry in fs::read_dir(out("other")).unwrap() {
        fs::write(entry.unwrap().path(), b"no record").unwrap();
    }
    assert_eq!(run("fourth", &out("other")), first);
}

#[test]
fn the_table_is_keyed_by_tensor_and_variant_and_the_page_stands_alone() {
    let (folder, path) = model();
    let study =
        SpectralStudy { widths: vec![BitWidth::new(4).unwrap()], mode: Mode::Compat, ..quick() };
    study.run(&path, None, &()).unwrap().write(folder.path()).unwrap();
    let csv = fs::read_to_string(folder.path().join("spectral.csv")).unwrap();
    let mut lines = csv.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    assert_eq!(header[..2], ["tensor", "variant"]);
    for name in [
        "alpha",
        "D",
        "sigma",
        "xmin",
        "num_pl_spikes",
        "ERG_gap",
        "warning",
        "hill",
        "farms",
        "p_adj",
        "collapsed",
    ] {
        assert!(header.contains(&name), "{name}");
    }
    let mut keys: Vec<(&str, &str)> = lines
        .map(|line| line.split_once(',').unwrap())
        .map(|(tensor, rest)| (tensor, rest.split_once(',').unwrap().0))
        .collect();
    assert_eq!(keys[0], ("broken.weight", "original"));
    let count = keys.len();
    keys.dedup();
    assert_eq!(keys.len(), count);
    let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
    let outside = page.replace("http://www.w3.org/2000/svg", "");
    for link in ["http:", "https:", "<script", "src=", "@import"] {
        assert!(!outside.contains(link), "{link}");
    }
    for text in [
        "Alpha by depth",
        "Before and after",
        "Change of alpha by matrix and width",
        "4bit-tensor",
        "WeightWatcher",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn subsets_of_the_rows_give_the_change_of_alpha_an_interval() {
    let (folder, path) = checkpoint(&[
        random("h.0.attn.c_attn.weight", &[24, 72]),
        random("wte.weight", &[60, 24]),
        ("zero.weight", &[24, 24], vec![0.0; 576]),
    ]);
    let mut study = SpectralStudy { widths: vec![BitWidth::new(4).unwrap()], ..quick() };
    let page = |study: &SpectralStudy, name: &str| {
        let report = study.run(&path, None, &()).unwrap();
        report.write(&folder.path().join(name)).unwrap();
        (report, fs::read_to_string(folder.path().join(name).join("report.html")).unwrap())
    };
    let (plain, without) = page(&study, "plain");
    study.comparison.rows.replicates = 12;
    let (report, with) = page(&study, "paired");
    assert!(
        !without.contains("delta_alpha_lo") && with.contains("12 subsets with 0.8 of the rows")
    );
    let change = |report: &SpectralReport, matrix: usize| {
        report.matrices[matrix].record.variants[1].change.clone().unwrap()
    };
    for matrix in 0..2 {
        let found = change(&report, matrix);
        let [lo, hi] = [found.delta_alpha_lo, found.delta_alpha_hi].map(Option::unwrap);
        assert!(lo < found.delta_alpha.unwrap() && found.delta_alpha.unwrap() < hi, "{found:?}");
        assert!((7..=12).contains(&found.delta_alpha_fits.unwrap()), "{found:?}");
        // All else is as without.
        let nothing = ChangeColumns {
            delta_alpha_lo: None,
            delta_alpha_hi: None,
            delta_alpha_fits: None,
            ..found
        };
        assert_eq!(change(&plain, matrix), nothing);
    }
    assert_eq!(change(&report, 2).delta_alpha_fits, None, "no fit, no subsets");
}

#[test]
fn gates_compare_numbers_of_the_summary() {
    let (_folder, small) = checkpoint(&[
        random("wte.weight", &[60, 24]),
        random("h.0.attn.c_attn.weight", &[24, 72]),
        random("h.0.ln_1.weight", &[24]),
    ]);
    let study = SpectralStudy { widths: vec![BitWidth::new(2).unwrap()], ..quick() };
    let summary = study.run(&small, None, &()).unwrap().summary;
    let violations = |text: &str| text.parse::<Gate>().unwrap().violations(&summary);
    assert_eq!(violations("skipped>0").unwrap(), ["skipped is 1: skipped>0"]);
    assert_eq!(violations("skipped > 1").unwrap(), [""; 0]);
    assert_eq!(violations("collapsed>0").unwrap(), ["2bit-tensor: collapsed is 2: collapsed>0"]);
    assert_eq!(violations("original:collapsed>0").unwrap(), [""; 0]);
    assert_eq!(violations("layers==2").unwrap().len(), 2, "of every variant");
    assert_eq!(violations("original:layers!=2").unwrap(), [""; 0]);
    // A variant that was not made of every matrix, here of one that is not finite, passes nothing.
    let (_folder, path) = model();
    let summary_of_all = study.run(&path, None, &()).unwrap().summary;
    let gate: Gate = "collapsed>100".parse().unwrap();
    let expected = "2bit-tensor: only 15 of 16 matrices, which counts as collapsed>100";
    assert_eq!(gate.violations(&summary_of_all).unwrap(), [expected]);
    let compat = SpectralStudy { mode: Mode::Compat, ..study.clone() };
    let means = compat.run(&small, None, &()).unwrap().summary;
    let alpha = means.plain_means["alpha"].unwrap();
    let gate: Gate = "plain_means.alpha>0".parse().unwrap();
    let expected = format!("plain_means.alpha is {alpha}: plain_means.alpha>0");
    assert_eq!(gate.violations(&means).unwrap(), [expected]);
    assert_eq!(gate.check(&compat), Ok(()));
    assert!(gate.check(&study).unwrap_err().starts_with("`plain_means.alpha` is no number"));
    let gate: Gate = "plain_means.mp_softrank<1".parse().unwrap();
    let expected = "plain_means.mp_softrank could not be computed, which counts as";
    assert!(gate.violations(&means).unwrap()[0].starts_with(expected), "it was not asked for");
    let error = violations("alpha>1").unwrap_err();
    assert!(error.starts_with("`alpha` is no number of the summary: "), "{error}");
    assert!(error.contains("nonfinite") && error.contains("after.median"), "{error}");
    let error = violations("4bit-tensor:collapsed>0").unwrap_err();
    assert!(error.ends_with("is about none of the variants original, 2bit-tensor"), "{error}");
    for wrong in ["collapsed", "collapsed>", ">1", "collapsed>x", "collapsed=1", "collapsed>NaN"] {
        let expected = format!("`{wrong}` is no condition, expected one like `collapsed>0`");
        assert_eq!(wrong.parse::<Gate>().unwrap_err(), expected);
    }
    let gate: Gate = "4bit-group:64:mean_change >= 0.5".parse().unwrap();
    assert_eq!(
        (gate.variant.as_deref(), gate.to_string()),
        (Some("4bit-group:64"), "4bit-group:64:mean_change>=0.5".to_owned())
    );
}

#[test]
fn settings_that_make_no_sense() {
    let (_folder, path) = model();
    let error = |study: SpectralStudy| study.run(&path, None, &()).unwrap_err().to_string();
    let widths = |bits: &[u8]| bits.iter().map(|&it| BitWidth::new(it).unwrap()).collect();
    assert_eq!(
        error(SpectralStudy { widths: widths(&[4, 8, 4]), ..quick() }),
        "4 bits is listed twice"
    );
    assert!(error(SpectralStudy { widths: widths(&[1]), ..quick() }).contains("no codes of 1 bit"));
    let granularities = vec!["token".parse().unwrap()];
    let error = error(SpectralStudy { widths: widths(&[4]), granularities, ..quick() });
    assert!(error.contains("a weight has no tokens"), "{error}");
    let error =
        quick().overridden(&["comparison.limits.snr=6".to_owned()]).unwrap_err().to_string();
    assert!(error.contains("unknown field `snr`"), "{error}");
    let other = quick().overridden(&["comparison.limits.snr_db=6".to_owned()]).unwrap();
    let mut expected = quick();
    expected.comparison.limits.snr_db = 6.0;
    assert_eq!(other, expected);
}

/// A variant that cannot be made of a matrix leaves a gap under its own name, on the page too, and lets no
/// condition pass.
#[test]
fn a_variant_that_cannot_be_made_is_missed_under_its_own_name() {
    let (_folder, path) = checkpoint(&[
        random("a.weight", &[32, 24]),
        random("b.weight", &[32, 20]), // [d_out, d_in]: 12 does not divide 20
    ]);
    let study = SpectralStudy {
        widths: vec![BitWidth::new(8).unwrap()],
        granularities: vec!["group:12".parse().unwrap(), Granularity::Tensor],
        ..quick()
    };
    let report = study.run(&path, None, &()).unwrap();
    let names: Vec<&str> =
        report.matrices[1].record.variants.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["original", "8bit-tensor"]);
    assert!(coverage(&report)["b.weight"].1.starts_with("no 8bit-group:12: 20 inputs are no"));
    let rows = tables::matrices(&report.matrices).unwrap();
    let page = report.page(&rows, &tables::coverage(&report.coverage).unwrap()).unwrap().to_html();
    assert!(page.contains("b.weight, 8bit-group:12: no value"), "the heat map");
    assert!(!page.contains("b.weight, 8bit-tensor: no value"));
    let violations =
        |text: &str| text.parse::<Gate>().unwrap().violations(&report.summary).unwrap();
    let expected = "8bit-group:12: only 1 of 2 matrices, which counts as collapsed>0";
    assert_eq!(violations("collapsed>0"), [expected]);
}

#[test]
fn a_record_is_of_these_values_read_this_way() {
    let values = normal(3, 16 * 12 * 9);
    let cache = tempfile::tempdir().unwrap();
    let slices = |shape: &[usize]| {
        let (_folder, path) = checkpoint(&[("a.weight", shape, values.clone())]);
        let report = quick().run(&path, Some(cache.path()), &()).unwrap();
        report.matrices[0].record.variants[0].columns.slices
    };
    assert_eq!((slices(&[16, 12, 3, 3]), slices(&[16, 3, 12, 3])), (9, 36));
}

#[test]
fn what_is_no_weight_or_has_no_spectrum_is_said_and_enters_no_mean() {
    let huge = normal(5, 30 * 20).iter().map(|it| it.signum() * f32::MAX).collect();
    let (_folder, path) = checkpoint(&[
        random("h.0.attn.bias", &[1, 1, 32, 32]), // a causal mask
        random("h.0.attn.qkv_proj.weight", &[48, 24]), // two queries share a key and a value
        random("optimizer_states.0.exp_avg", &[24, 24]),
        random("skipped.weight", &[24, 24]),
        ("huge.weight", &[30, 20], huge),
    ]);
    let study = SpectralStudy {
        split_qkv: true,
        skip: vec!["skip*".to_owned()],
        widths: vec![BitWidth::new(4).unwrap()],
        ..quick()
    };
    let report = study.run(&path, None, &()).unwrap();
    let found = coverage(&report);
    assert_eq!(found["h.0.attn.bias"], (0, "a mask"));
    assert_eq!(found["h.0.attn.qkv_proj.weight"], (1, ""));
    assert_eq!(found["optimizer_states.0.exp_avg"], (0, "state of an optimiser"));
    assert_eq!(found["skipped.weight"], (0, "listed to be skipped"));
    assert_eq!(found["huge.weight"].0, 1);
    assert_eq!(report.summary.variants[0].summary.layers, 2);
}

#[test]
fn a_setting_of_the_other_mode_is_refused() {
    let (_folder, path) = checkpoint(&[random("a.weight", &[32, 24])]);
    let error = |study: SpectralStudy| study.run(&path, None, &()).unwrap_err().to_string();
    let compat = SpectralStudy { mode: Mode::Compat, split_qkv: true, ..quick() };
    assert_eq!(error(compat), "`split_qkv` belongs to the mode `strict`");
    let strict = SpectralStudy { clip_xmax: true, ..quick() };
    assert_eq!(error(strict), "`clip_xmax` belongs to the mode `compat`");
    let set = |text: &str| error(quick().overridden(&[text.to_owned()]).unwrap());
    assert_eq!(set("estimation.farms.rows=0"), "`estimation.farms.rows` is 0, expected at least 1");
    assert_eq!(
        set("comparison.rows.share=1"),
        "`comparison.rows.share` is 1, expected a number between 0 and 1"
    );
    assert_eq!(
        set("summary.confidence=7"),
        "`summary.confidence` is 7, expected a number between 0 and 1"
    );
}
