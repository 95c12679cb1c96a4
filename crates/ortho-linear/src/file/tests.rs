use counter_rng::Key;
use proptest::prelude::*;

use super::*;
use crate::{
    AnyBase, IndexWidth, Magnitude, Mask, Matrix, Mixed, Reference, Scope, Selection, Signals,
};

/// Type, shape and bytes.
type Stored = (Dtype, Vec<usize>, Vec<u8>);

type Tensors = BTreeMap<String, Stored>;

/// Tensors in memory in the place of a file.
impl<'a> Source<'a> for &'a [Part] {
    fn take(
        &mut self,
        part: &'static str,
    ) -> Result<(Dtype, Vec<usize>, &'a [u8]), OrthoFileError> {
        let found = self.iter().find(|it| it.name == part);
        let found = found.ok_or_else(|| OrthoFileError::Missing(part.to_owned()))?;
        Ok((found.dtype, found.shape.clone(), &found.bytes))
    }

    fn name(&self, part: &str) -> String {
        format!("layer.{part}")
    }
}

fn normal(len: usize, seed: u64) -> Vec<f32> {
    let mut values = vec![0.0; len];
    Key::from_seed(seed).fill_normal(0, &mut values);
    values
}

/// Bytes and bits that come back.
fn round_trip(split: &Split) -> Result<(), TestCaseError> {
    let parts = parts::encode(split).unwrap();
    let bytes: usize = parts.iter().map(|it| it.bytes.len()).sum();
    prop_assert_eq!(bytes, split.bytes());
    let record = LayerRecord::of(split);
    let found = parts::decode(&record, &mut &parts[..]).unwrap();
    prop_assert_eq!(&found, split);
    let bits =
        |it: &Split| it.materialise(Alpha::BASE).iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    prop_assert_eq!(bits(&found), bits(split));
    prop_assert_eq!(LayerRecord::of(&found).sum_sha256, record.sum_sha256);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_base_kind_and_index_width_comes_back(
        d_in in 1_usize..40,
        d_out in 1_usize..20,
        seed in any::<u64>(),
        scale in prop_oneof![Just(1.0_f32), Just(1e-3), Just(1e-6), Just(300.0)],
        ratio in prop_oneof![Just(0.0), Just(0.1), Just(1.0)],
        storage in prop_oneof![Just(Storage::F16), Just(Storage::Bf16), Just(Storage::F32)],
        width in prop_oneof![Just(IndexWidth::U16), Just(IndexWidth::U32)],
    ) {
        let values: Vec<f32> = normal(d_in * d_out, seed).iter().map(|it| it * scale).collect();
        let weights = Matrix::new(&values, [d_in, d_out]).unwrap();
        let (reference, _) = Reference::cast(weights, storage).unwrap().with_positive_zeros();
        let rule = Magnitude { ratio, ..Magnitude::default() };
        let mask = rule.select(&Signals::of(reference.matrix())).unwrap();
        let mixed = |budget| Mixed { budget, ..Mixed::default() }.into();
        for kind in AnyBase::all().into_iter().chain([mixed(0.1), mixed(0.2)]) {
            // A budget that fp16 misses, or a weight that is no sum in `f32`, makes no split.
            let Ok(base) = kind.as_dyn().encode(&reference) else { continue };
            if let Ok(split) = Split::residual(&reference, base, &mask, width) {
                round_trip(&split)?;
            }
        }
        round_trip(&Split::extract(&reference, &mask, width).unwrap())?;
        for scope in [Scope::Matrix, Scope::Channel] {
            round_trip(&Split::clamp(&reference, &mask, scope, width).unwrap())?;
        }
        let before: Vec<f32> = values.iter().map(|it| it * 0.75).collect();
        let before = Matrix::new(&before, [d_in, d_out]).unwrap();
        let (before, _) = Reference::cast(before, storage).unwrap().with_positive_zeros();
        if let Ok(split) = Split::delta(&reference, &before, &mask, width) {
            round_trip(&split)?;
        }
    }
}

#[test]
fn bytes_by_hand() {
    // Channels 7 -3 1 and 0 14 2, scales 1 and 2 by absmax / 7: codes 7 -3 1 and 0 7 1, one outlier.
    let weights = [7.0, 0.0, -3.0, 14.0, 1.0, 2.0];
    let reference = Reference::cast(Matrix::new(&weights, [3, 2]).unwrap(), Storage::F16).unwrap();
    let base = crate::BaseKind::encode(&crate::Int4::default(), &reference).unwrap();
    let mask = Mask::new(vec![2], [3, 2]).unwrap();
    let split = Split::residual(&reference, base, &mask, IndexWidth::Auto).unwrap();
    let parts = parts::encode(&split).unwrap();
    let found: Vec<(&str, Dtype, &[usize], &[u8])> =
        parts.iter().map(|it| (it.name, it.dtype, &it.shape[..], &it.bytes[..])).collect();
    let one = 0x3c; // the upper byte of 1 in half precision; 2 has 0x40
    let expected: [(&str, Dtype, &[usize], &[u8]); 5] = [
        ("base", Dtype::U8, &[2, 2], &[0xd7, 0x01, 0x70, 0x01]),
        ("base_scale", Dtype::F16, &[2], &[0, one, 0, 0x40]),
        ("ortho.values", Dtype::F32, &[1], &[0, 0, 0, 0x80]), // -0, as the weight is below 0
        ("ortho.indices", Dtype::U16, &[1], &[1, 0]),
        ("ortho.ptr", Dtype::U32, &[3], &[0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]),
    ];
    assert_eq!(found, expected);
}

/// A model of one block: an int4 base, a mixed one and a bulk one, and a dense layer.
fn saved(folder: &Path) -> (PlainGpt2, OrthoCheckpoint) {
    let config = Gpt2Config {
        vocab_size: 11,
        n_positions: 8,
        n_embd: 8,
        n_layer: 1,
        n_head: 2,
        ..Gpt2Config::default()
    };
    let device = Device::default();
    let plain = PlainGpt2::random(&config, Key::from_seed(5), &device).unwrap();
    let text =
        |base: &str| format!("base = {base}\nselection = {{ kind = \"magnitude\", ratio = 0.1 }}");
    let made_by = |base: &str| -> SplitConfig { toml::from_str(&text(base)).unwrap() };
    let mut splits = BTreeMap::new();
    for (layer, base) in [
        ("h.0.attn.c_attn", "{ kind = \"int4\" }"),
        ("h.0.attn.c_proj", "{ kind = \"mixed\", budget = 0.1 }"),
        ("h.0.mlp.c_fc", "{ kind = \"bulk\", bits = 4 }"),
    ] {
        let (_, data) = read(&plain, |name| name == format!("{layer}.weight")).unwrap().remove(0);
        let values: Vec<f32> = data.try_to_vec().unwrap();
        let weights = Matrix::new(&values, [data.shape()[0], data.shape()[1]]).unwrap();
        let reference = made_by(base).reference(weights).unwrap();
        let split = made_by(base).split(&reference, &Signals::of(weights)).unwrap();
        splits.insert(layer.to_owned(), split);
    }
    let made_by = made_by("{ kind = \"int4\" }");
    save(&plain, &config, &splits, &made_by, folder).unwrap();
    let model = OrthoGpt2::with_splits(plain.clone(), &splits).unwrap();
    (plain, OrthoCheckpoint { model, config, splits, made_by })
}

#[test]
fn a_model_comes_back() {
    let at = tempfile::tempdir().unwrap();
    let folder = at.path().join("model");
    let (plain, expected) = saved(&folder);
    let found = load(&folder, &Device::default()).unwrap();
    assert_eq!(found.splits, expected.splits);
    assert_eq!((&found.made_by, &found.config), (&expected.made_by, &expected.config));
    assert_eq!(parameters(&found.model), parameters(&expected.model));
    let values = |model: &OrthoGpt2| read(model, |_| true).unwrap();
    assert_eq!(values(&found.model), values(&expected.model));
    // The same bytes again, and never over something else.
    let other = at.path().join("other");
    save(&plain, &expected.config, &expected.splits, &found.made_by, &other).unwrap();
    let bytes = |folder: &Path| fs::read(folder.join(FILE_NAME)).unwrap();
    assert_eq!(bytes(&folder), bytes(&other));
    let error = save(&plain, &expected.config, &expected.splits, &found.made_by, &other);
    assert!(error.unwrap_err().to_string().contains("exists"));
}

#[test]
fn splits_of_other_models() {
    let at = tempfile::tempdir().unwrap();
    let (plain, OrthoCheckpoint { config, mut splits, made_by, .. }) =
        saved(&at.path().join("model"));
    let split = splits.remove("h.0.mlp.c_fc").unwrap();
    for (name, expected) in [
        (
            "h.0.mlp.c_proj",
            "`h.0.mlp.c_proj`: the split of `h.0.mlp.c_proj` is [8, 32], expected [32, 8] as the layer",
        ),
        (
            "wte",
            "`wte`: `wte` is no linear layer of the model, expected one of `h.N.attn.c_attn`, \
             `h.N.attn.c_proj`, `h.N.mlp.c_fc`, `h.N.mlp.c_proj` with N below 1",
        ),
    ] {
        let splits = BTreeMap::from([(name.to_owned(), split.clone())]);
        let error = save(&plain, &config, &splits, &made_by, &at.path().join("other")).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(!at.path().join("other").exists());
    }
}

/// What is said of a file after a change of its metadata and tensors; with `FILE` for its path.
fn refused(change: impl FnOnce(&mut String, &mut Tensors)) -> String {
    let at = tempfile::tempdir().unwrap();
    let folder = at.path().join("model");
    saved(&folder);
    let path = folder.join(FILE_NAME);
    let file = fs::read(&path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&file).unwrap();
    let mut about = header.metadata().as_ref().unwrap()[ABOUT].clone();
    let tensors = SafeTensors::deserialize(&file).unwrap().tensors();
    let mut tensors: Tensors = tensors
        .into_iter()
        .map(|(name, it)| (name, (it.dtype(), it.shape().to_vec(), it.data().to_vec())))
        .collect();
    change(&mut about, &mut tensors);
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    let about = (!about.is_empty()).then(|| HashMap::from([(ABOUT.to_owned(), about)]));
    fs::write(&path, safetensors::serialize(views, about).unwrap()).unwrap();
    let error = load(&folder, &Device::default()).unwrap_err().to_string();
    error.replace(&path.display().to_string(), "FILE")
}

#[test]
fn metadata_that_lie() {
    let replaced = |from: &str, to: &str| {
        refused(|about, _| {
            assert!(about.contains(from), "{about}");
            *about = about.replacen(from, to, 1);
        })
    };
    for (found, expected) in [
        (
            refused(|about, _| about.clear()),
            "the metadata of `FILE` have no `sublora.ortho`, expected a file of bases and outliers",
        ),
        (
            replaced("{\"version\":1,", "{\"version\":2,\"new\":0,"),
            "`FILE` was written by version 2 of the format, this program reads 1",
        ),
        (
            replaced("[8,24]", "[8,0]"),
            "`h.0.attn.c_attn`: the shape is [8, 0], expected 1 to 4294967295 values",
        ),
        (
            replaced("[8,24]", "[1,4000000000]"),
            "`h.0.attn.c_attn.base` is U8 [24, 4], expected U8 [4000000000, 1]",
        ),
        (
            replaced("[8,8]", "[1,4000000000]"),
            "`h.0.attn.c_proj.base_coding` is U8 [2], expected U8 [1000000000]",
        ),
        (
            replaced("\"bits\":4,\"zero_points\":true", "\"bits\":4,\"zero_points\":false"),
            "value 0 of `h.0.mlp.c_fc.base` is -8, expected a code from -7 to 7",
        ),
    ] {
        assert_eq!(found, expected);
    }
    let error = replaced("\"construction\":\"residual\"", "\"construction\":\"other\"");
    assert!(
        error.starts_with("`sublora.ortho` in the metadata of `FILE` cannot be read"),
        "{error}"
    );
    let error = replaced("\"base_sha256\":\"", "\"base_sha256\":\"x");
    assert!(error.contains("the base of `h.0.attn.c_attn` has the SHA-256"), "{error}");
}

#[test]
fn tensors_that_lie() {
    let changed = |name: &str, change: &dyn Fn(&mut Stored)| {
        refused(|_, tensors| change(tensors.get_mut(name).unwrap()))
    };
    let byte = |name: &str, at: usize, byte: u8| changed(name, &|it| it.2[at] = byte);
    let attn = "h.0.attn.c_attn";
    for (found, expected) in [
        (
            refused(|_, it| drop(it.remove("h.0.attn.c_attn.base_scale"))),
            "`h.0.attn.c_attn.base_scale` is missing",
        ),
        (refused(|_, it| drop(it.remove("ln_f.bias"))), "`ln_f.bias` is missing"),
        (
            refused(|_, it| drop(it.insert("x".to_owned(), (Dtype::U8, vec![0], vec![])))),
            "`x` belongs to nothing in the model",
        ),
        (changed("ln_f.bias", &|it| it.0 = Dtype::I32), "`ln_f.bias` is I32 [8], expected F32 [8]"),
        (
            changed("ln_f.bias", &|it| it.2[..4].copy_from_slice(&f32::NAN.to_le_bytes())),
            "`ln_f.bias` holds a value that is not finite",
        ),
        (
            changed(&format!("{attn}.ortho.indices"), &|it| it.0 = Dtype::I16),
            "`h.0.attn.c_attn.ortho.indices` is I16 [19], expected U16 or U32 [entries]",
        ),
        (
            changed(&format!("{attn}.ortho.values"), &|it| it.1 = vec![1, 19]),
            "`h.0.attn.c_attn.ortho.values` is F32 [1, 19], expected F32 [19]",
        ),
        (byte(&format!("{attn}.ortho.ptr"), 0, 1), "`h.0.attn.c_attn`: pointer 0 is 1, expected 0"),
        (
            byte(&format!("{attn}.ortho.indices"), 1, 1),
            "`h.0.attn.c_attn`: index 0, in row 2, is 258, expected rising indices below 8 within a row",
        ),
        (
            changed(&format!("{attn}.ortho.values"), &|it| {
                it.2[..4].copy_from_slice(&f32::INFINITY.to_le_bytes());
            }),
            "`h.0.attn.c_attn`: outlier 0 is inf, expected a finite number",
        ),
        (
            changed(&format!("{attn}.base_scale"), &|it| it.2[..2].copy_from_slice(&[0, 0x7c])),
            "value 0 of `h.0.attn.c_attn.base_scale` is inf, expected a finite number above 0",
        ),
        (
            byte(&format!("{attn}.base"), 0, 0x08),
            "value 0 of `h.0.attn.c_attn.base` is -8, expected a code from -7 to 7",
        ),
        (
            byte("h.0.attn.c_proj.base_coding", 0, 3),
            "value 0 of `h.0.attn.c_proj.base_coding` is 3, expected 0 for int4, 1 for int8 or 2 for fp16",
        ),
    ] {
        assert_eq!(found, expected);
    }
    let error = changed(&format!("{attn}.ortho.values"), &|it| it.2[2] ^= 1);
    assert!(
        error.starts_with("the sum of base and outliers of `h.0.attn.c_attn` has the SHA-256"),
        "{error}"
    );
    // No layer that is split.
    let error = changed("ln_f.bias", &|it| it.2[2] ^= 1);
    assert!(error.starts_with("the whole of `ortho.safetensors` has the SHA-256"), "{error}");
    let error = changed("h.0.mlp.c_fc.base_zero_point", &|it| it.2[3] ^= 1);
    assert!(error.starts_with("the base of `h.0.mlp.c_fc` has the SHA-256"), "{error}");
}

#[test]
fn files_that_are_none() {
    let at = tempfile::tempdir().unwrap();
    let folder = at.path().join("model");
    saved(&folder);
    let path = folder.join(FILE_NAME);
    let file = fs::read(&path).unwrap();
    for len in [0, 7, 8, 300, file.len() - 1] {
        fs::write(&path, &file[..len]).unwrap();
        let error = load(&folder, &Device::default()).unwrap_err();
        assert!(matches!(error, OrthoFileError::Safetensors { .. }), "{len}: {error}");
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(load(&folder, &Device::default()), Err(OrthoFileError::Io { .. })));
    fs::remove_file(folder.join("config.json")).unwrap();
    assert!(matches!(load(&folder, &Device::default()), Err(OrthoFileError::Checkpoint(_))));
}
