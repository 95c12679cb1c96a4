//! Switchable, mergeable and cyclic GPT-2: the plain model at 32 bits, what each width trains, and how
//! many parameters that is.

use adapters::{
    AdapterRule, BaseWeights, CalibrationError, CyclicConfig, CyclicGpt2, FakeQuantConfig,
    GradientPlace, LearnedScales, MergeableConfig, MergeableGpt2, Precision, Quantization,
    QuantizedLayer, QuantizedNorm, SwitchableConfig, SwitchableGpt2, merge,
};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor};
use counter_rng::Key;
use gpt2_model::{
    Gpt2, Gpt2Config, LinearLayer, NormLayer, PlainGpt2, WeightPath, assign, parameters,
};
use quantizers::{BitWidth, Granularity};
use small::{bits, floats, plain, tokens};

mod small;

const KEY: u64 = 11;

fn widths<const N: usize>(all: [u8; N]) -> Vec<BitWidth> {
    all.map(bits).to_vec()
}

/// A head and static inputs, so that everything there is takes part.
fn quantize() -> FakeQuantConfig {
    let input = Quantization { granularity: Granularity::Tensor, ..Quantization::default() };
    FakeQuantConfig { input: input.into(), head: true, ..FakeQuantConfig::default() }
}

fn calibrate(model: &impl Precision, forward: impl FnOnce(), all: &[BitWidth]) {
    model.start_calibration(all, all);
    forward();
    model.finish_calibration().unwrap();
}

fn ready<L, N>(model: Gpt2<L, N>, device: &Device, all: &[BitWidth]) -> Gpt2<L, N>
where
    L: QuantizedLayer,
    N: QuantizedNorm,
{
    calibrate(&model, || drop(model.logits(tokens(device))), all);
    model
}

fn switchable(device: &Device) -> SwitchableGpt2 {
    let adapters = vec![AdapterRule { rank: 3, alpha: 6.0, ..AdapterRule::default() }];
    let factors = Some(Quantization::default().into());
    let config =
        SwitchableConfig { widths: widths([4, 3]), quantize: quantize(), factors, adapters };
    ready(config.apply(plain(device), Key::from_seed(KEY)).unwrap(), device, &widths([3, 4]))
}

fn mergeable(device: &Device) -> MergeableGpt2 {
    let (quantize, widths) = (quantize(), widths([3, 4]));
    let config = MergeableConfig { widths: widths.clone(), quantize, rank: 3, alpha: 6.0 };
    let model = config.apply(plain(device), Key::from_seed(KEY)).unwrap();
    let mut model = ready(model, device, &widths);
    model.learn_scales(&widths, device).unwrap();
    model
}

fn cyclic(config: CyclicConfig, device: &Device) -> CyclicGpt2 {
    let config = CyclicConfig { quantize: quantize(), rank: 3, ..config };
    ready(config.apply(plain(device), Key::from_seed(KEY)).unwrap(), device, &widths([3, 4]))
}

/// Some other number for every weight that `is_named`.
fn moved<M: Module>(model: M, is_named: impl Fn(&str) -> bool) -> M {
    assign(model, |name, shape| {
        let mut values = vec![0.0; shape.iter().product()];
        Key::from_seed(5).derive(name).fill_normal(0, &mut values);
        is_named(name).then(|| values.iter().map(|it| 0.05 * it).collect())
    })
}

fn is_b(name: &str) -> bool {
    name.ends_with("lora_B")
}

fn logits<L, N>(model: &Gpt2<L, N>, width: u8) -> Vec<f32>
where
    L: QuantizedLayer,
    N: QuantizedNorm,
{
    model.set_precision(bits(width), bits(width)).unwrap();
    floats(model.logits(tokens(&model.wte.weight.device())))
}

/// At 32 bits it is the plain model whatever was visited before and whatever the adapters hold; while it
/// is calibrated adapters do nothing; and a width that is not there changes nothing.
fn is_plain_at_32_bits<L, N>(model: Gpt2<L, N>)
where
    L: QuantizedLayer + LinearLayer,
    N: QuantizedNorm + NormLayer,
{
    let device = model.wte.weight.device();
    let expected = floats(plain(&device).logits(tokens(&device)));
    let model = moved(model, is_b);
    assert_eq!(logits(&model, 32), expected);
    let (three, four) = (logits(&model, 3), logits(&model, 4));
    assert!(three != four && four != expected);
    assert_eq!(logits(&model, 32), expected, "after other widths");
    assert_eq!((logits(&model, 3), logits(&model, 4)), (three, four.clone()), "both ways");

    let error = model.set_precision(bits(5), bits(4)).unwrap_err().to_string();
    assert!(error.starts_with("`h.0."), "{error}");
    assert!(error.contains("5 bits") && error.contains("[3, 4]"), "{error}");
    model.set_precision(bits(4), bits(5)).unwrap_err();
    assert_eq!(floats(model.logits(tokens(&device))), four, "nothing was switched");
    let calibrated = || assert_eq!(floats(model.logits(tokens(&device))), expected);
    model.set_precision(BitWidth::FULL, BitWidth::FULL).unwrap();
    calibrate(&model, calibrated, &widths([3]));
    assert_eq!(logits(&model, 4), four);
}

#[test]
fn at_32_bits_and_while_calibrating_every_kind_is_the_plain_model() {
    let device = Device::default();
    is_plain_at_32_bits(switchable(&device));
    is_plain_at_32_bits(mergeable(&device));
    is_plain_at_32_bits(cyclic(CyclicConfig::default(), &device));
}

#[test]
fn every_width_starts_as_the_quantised_pretrained_model() {
    let device = Device::default();
    let plainly = ready(quantize().apply(plain(&device)).unwrap(), &device, &widths([3, 4]));
    for width in [3, 4] {
        let expected = logits(&plainly, width);
        assert_eq!(logits(&switchable(&device), width), expected);
        assert_eq!(logits(&mergeable(&device), width), expected);
        assert_eq!(logits(&cyclic(CyclicConfig::default(), &device), width), expected);
    }
}

#[test]
fn adapters_are_turned_off_and_on() {
    let device = Device::default();
    let fresh = logits(&switchable(&device), 4);
    let model = moved(switchable(&device), is_b);
    let trained = logits(&model, 4);
    assert_ne!(trained, fresh);
    model.enable_adapters(false);
    assert_eq!(logits(&model, 4), fresh);
    model.enable_adapters(true);
    assert_eq!(logits(&model, 4), trained);
}

/// Names of the weights that a gradient reaches.
fn reached<M: Module>(model: &M, gradients: &Gradients) -> Vec<String> {
    struct Reached<'a> {
        path: WeightPath,
        gradients: &'a Gradients,
        found: Vec<String>,
    }
    impl ModuleVisitor for Reached<'_> {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.enter(name);
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.val().grad(self.gradients).is_some() {
                self.found.push(self.path.name());
            }
        }
    }
    let mut visitor = Reached { path: WeightPath::default(), gradients, found: Vec::new() };
    model.visit(&mut visitor);
    visitor.found
}

/// Those of a pass at `width`, and all names.
fn trained_at<L, N>(model: &Gpt2<L, N>, width: u8) -> Vec<String>
where
    L: QuantizedLayer,
    N: QuantizedNorm,
{
    model.set_precision(bits(width), bits(width)).unwrap();
    let loss = model.logits(tokens(&model.wte.weight.device())).powi_scalar(2).sum();
    reached(model, &loss.backward())
}

fn names(model: &impl Module, is_named: impl Fn(&str) -> bool) -> Vec<String> {
    let all = parameters(model).into_iter().map(|it| it.name);
    all.filter(|name| is_named(name)).collect()
}

#[test]
fn a_width_trains_its_own_adapters_and_norms_only() {
    let device = Device::default().autodiff();
    let model = moved(switchable(&device), is_b);
    for (place, width) in [(0, 3), (1, 4)] {
        let (adapter, norm) = (format!("adapters.{place}."), format!("norms.{place}."));
        let expected = names(&model, |name| name.contains(&adapter) || name.contains(&norm));
        assert_eq!(expected.len(), (2 * 4 + 1) * 2 + (2 * 2 + 1) * 2); // pairs, gains and biases
        assert_eq!(trained_at(&model, width), expected);
    }
    model.set_precision(BitWidth::FULL, BitWidth::FULL).unwrap();
    let teacher = model.logits(tokens(&device));
    assert!(!teacher.is_tracked(), "nothing is trained at 32 bits");
}

#[test]
fn a_mergeable_model_trains_one_pair_and_the_scales_and_norms_of_the_width() {
    let device = Device::default().autodiff();
    let model = moved(mergeable(&device), is_b);
    for (place, width) in [(0, 3), (1, 4)] {
        let (scale, norm) = (format!("learned.{place}."), format!("norms.{place}."));
        let expected =
            |name: &str| name.contains(".lora_") || name.contains(&scale) || name.contains(&norm);
        assert_eq!(trained_at(&model, width), names(&model, expected));
    }
}

#[test]
fn all_widths_of_a_cyclic_model_train_the_same_weights() {
    let device = Device::default().autodiff();
    let model = moved(cyclic(CyclicConfig::default(), &device), is_b);
    let of_adapters = names(&model, |name| name.contains(".lora_") || name.contains("ln_"));
    assert_eq!(
        [3, 4].map(|width| trained_at(&model, width)),
        [(); 2].map(|()| of_adapters.clone())
    );

    let trained = CyclicConfig { base: BaseWeights::Trained, ..CyclicConfig::default() };
    let quantize = FakeQuantConfig { weight_scales: adapters::Scales::Dynamic, ..quantize() };
    let config = CyclicConfig { quantize, rank: 0, ..trained };
    let model = config.apply(plain(&device), Key::from_seed(KEY)).unwrap();
    let model = ready(model, &device, &widths([3, 4]));
    assert_eq!(trained_at(&model, 3), names(&model, |_| true));
    assert_eq!(trained_at(&model, 32), names(&model, |_| true));
}

#[test]
fn gradients_are_quantised_at_outputs_or_at_factors() {
    let device = Device::default().autodiff();
    let gradient = |config: CyclicConfig, width| {
        let model = moved(cyclic(config, &device), is_b);
        model.set_precision(bits(4), bits(4)).unwrap();
        model.set_gradients(bits(width), 1).unwrap();
        let gradients = model.logits(tokens(&device)).powi_scalar(2).sum().backward();
        let layer = &model.h[1].mlp.c_fc;
        let lora = layer.lora.as_ref().unwrap();
        let of = |it: &Param<Tensor<2>>| floats(it.val().grad(&gradients).unwrap());
        (
            of(&lora.lora_A),
            of(&lora.lora_B),
            floats(model.h[0].ln_1.gamma.val().grad(&gradients).unwrap()),
        )
    };
    let at = |gradient_at| CyclicConfig { gradient_at, ..CyclicConfig::default() };
    let full = gradient(CyclicConfig::default(), 32);
    assert_eq!(gradient(at(GradientPlace::Factors), 32), full);
    let output = gradient(at(GradientPlace::Output), 3);
    assert!(output.0 != full.0 && output.1 != full.1 && output.2 != full.2);
    let factors = gradient(at(GradientPlace::Factors), 3);
    assert_eq!(factors.2, full.2, "what lies below is left alone");
    let mut codes = factors.1;
    codes.sort_by(f32::total_cmp);
    codes.dedup();
    assert!(codes.len() <= 7, "3 bits have at most 7 codes: {codes:?}"); // -3 to 3
}

#[test]
fn merging_changes_no_bit_of_any_width() {
    let device = Device::default();
    // As after training: other factors, scales and norms.
    let model = moved(mergeable(&device), is_b);
    let model = assign(model, |name, shape| {
        let at =
            |base: f32| (0..shape.iter().product::<usize>()).map(move |i| base + i as f32 * 1e-3);
        if name.rsplit('.').next() == Some("scale") {
            return Some(at(0.02).collect());
        }
        name.contains("norms").then(|| at(0.9).collect())
    });
    let before = [3, 4].map(|width| logits(&model, width));
    assert_ne!(before[0], logits(&mergeable(&device), 3));
    let merged = merge(model);
    assert_eq!([3, 4].map(|width| logits(&merged, width)), before);
    assert!(parameters(&merged).iter().all(|it| !it.name.contains("lora")));
    assert_ne!(logits(&merged, 32), floats(plain(&device).logits(tokens(&device))));
}

#[test]
fn a_frozen_weight_is_quantised_anew_when_another_is_loaded() {
    let device = Device::default();
    let model = cyclic(CyclicConfig::default(), &device);
    let before = logits(&model, 4);
    for _ in 0..100 {
        assert_eq!(floats(model.logits(tokens(&device))), before);
    }
    let is_weight = |name: &str| name == "h.1.mlp.c_fc.quantized.base.weight";
    let loaded = moved(model.clone(), is_weight);
    assert_ne!(floats(loaded.logits(tokens(&device))), before);
    assert_eq!(floats(model.logits(tokens(&device))), before, "a clone has the old weight");
}

fn count(model: &impl Module, is_named: impl Fn(&str) -> bool) -> usize {
    let named = parameters(model).into_iter().filter(|it| is_named(&it.name));
    named.map(|it| it.shape.iter().product::<usize>()).sum()
}

/// GPT-2 small; no weight is allocated.
fn gpt2_small() -> PlainGpt2 {
    PlainGpt2::zeros(&Gpt2Config::default(), &Device::default()).unwrap()
}

/// 48 matrices with 147,456 inputs and outputs together; 25 norms of 2 * 768.
#[test]
fn parameters_of_gpt2_small_by_design() {
    assert_eq!(count(&gpt2_small(), |_| true), 124_439_808);
    let widths: Vec<_> = (3..=16).map(bits).collect();
    let key = Key::from_seed(0);

    let config = SwitchableConfig { widths: widths.clone(), ..SwitchableConfig::default() };
    let model = config.apply(gpt2_small(), key).unwrap();
    let is_lora = |name: &str| name.contains(".lora_");
    assert_eq!(count(&model, is_lora), 14 * 64 * 147_456); // 132,120,576: more than the base
    assert_eq!(count(&model, |name| name.contains(".norms.")), 14 * 38_400);
    assert_eq!(count(&model, |_| true), 257_097_984);
    assert!(!model.h[0].attn.c_attn.quantized.base.weight.is_initialized(), "nothing allocated");

    let config = MergeableConfig { widths, ..MergeableConfig::default() };
    let model = config.apply(gpt2_small(), key).unwrap();
    assert_eq!(count(&model, is_lora), 16 * 147_456);
    let scales = model.weights().iter().map(|it| it.scale_count(bits(4)).unwrap()).sum::<usize>();
    assert_eq!((scales, 14 * scales), (82_944, 1_161_216));

    let quantize = FakeQuantConfig { head: true, ..FakeQuantConfig::default() };
    let config = CyclicConfig { quantize, ..CyclicConfig::default() };
    let model = config.apply(gpt2_small(), key).unwrap();
    let is_head = |name: &str| name.starts_with("lm_head");
    assert_eq!(count(&model, |name| is_lora(name) && !is_head(name)), 2_359_296);
    assert_eq!(count(&model, |name| is_lora(name) && is_head(name)), 816_400);
    let total = count(&model, |name| !is_lora(name));
    let norms = count(&model, |name| name.contains("ln_"));
    assert_eq!((total, total - norms), (163_037_184, 162_998_784));
    assert_eq!(norms + count(&model, is_lora), 3_214_096);
}

#[test]
fn a_width_without_a_rule_is_an_error_that_names_it() {
    let device = Device::default();
    let only = Quantization { bits: widths([3]), ..Quantization::default() };
    let config = FakeQuantConfig { weight: only.into(), ..FakeQuantConfig::default() };
    let model = config.apply(plain(&device)).unwrap();
    model.start_calibration(&widths([3, 4]), &widths([3, 4]));
    model.logits(tokens(&device));
    let error = model.finish_calibration().unwrap_err();
    let name = "h.0.attn.c_attn.weight".to_owned();
    assert_eq!(error, CalibrationError::NoRule { name, bits: bits(4) });
    assert_eq!(
        error.to_string(),
        "`h.0.attn.c_attn.weight` has no rule for 4 bits; add one, or one without `bits` for all others"
    );
}

#[test]
fn configurations_are_read_as_written_in_their_documentation() {
    let text = "widths = [2, 3, 4, 6, 8]\n\
                adapters = [{ bits = [2], rank = 16, alpha = 16 }, { rank = 8, alpha = 8 }]\n\
                [quantize.weight]\nrange = { kind = \"mse\" }\n";
    let config: SwitchableConfig = toml::from_str(text).unwrap();
    let rank = |width| config.rank_at(bits(width)).map(|it| (it.rank, it.alpha));
    assert_eq!((rank(2), rank(8)), (Some((16, 16.0)), Some((8, 8.0))));
    let text = "rank = 16\nalpha = 32\nbase = \"frozen\"\n\
                [quantize]\nhead = true\nweight = { range = { kind = \"mse\" } }\n\
                [factors]\ngranularity = \"channel\"\n";
    let config: CyclicConfig = toml::from_str(text).unwrap();
    assert_eq!((config.rank, config.quantize.head), (16, true));
    assert_eq!(toml::from_str(&toml::to_string(&config).unwrap()), Ok(config));
    let error = toml::from_str::<MergeableConfig>("ranks = 3").unwrap_err().to_string();
    assert!(error.contains("unknown field `ranks`, expected one of"), "{error}");
    // Scales that are learned are parameters, in the order of the widths.
    let model = mergeable(&Device::default());
    let learned = model.h[0].mlp.c_fc.quantized.weight.learned().iter().map(LearnedScales::bits);
    assert_eq!(learned.collect::<Vec<_>>(), widths([3, 4]));
}
