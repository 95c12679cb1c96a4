use super::*;
use crate::{OperandWidth, ScheduleConfig};

/// Multiply-accumulates per token, of one kind.
fn per_token(shape: &Gpt2Shape, kind: OperationKind) -> f64 {
    let operations = shape.operations().unwrap();
    let macs = operations.iter().filter(|it| it.kind == kind).map(|it| it.macs).sum::<u64>();
    macs as f64 / shape.seq as f64
}

#[test]
fn gpt2_small_per_token() {
    let small = Gpt2Shape::default();
    for (kind, expected) in [
        (OperationKind::Embedding, 0.0),
        (OperationKind::Linear, 84_934_656.0), // 12 * 12 * 768^2
        (OperationKind::Head, 38_597_376.0),   // 768 * 50 257
        (OperationKind::Attention, 18_874_368.0), // 2 * 12 * 768 * 1024
        (OperationKind::Adapter, 0.0),
        // 25 norms of 3 * 768, 12 GELUs of 24 * 768, 12 softmaxes of 2 * 12 * 1024
        (OperationKind::Elementwise, 57_600.0 + 221_184.0 + 294_912.0),
    ] {
        assert_eq!(per_token(&small, kind), expected, "{kind:?}");
    }
    let causal = Gpt2Shape { attention: AttentionKernel::Causal, ..small };
    // 2 * 12 * 768 * 512.5
    assert_eq!(per_token(&causal, OperationKind::Attention), 9_446_400.0);
}

#[test]
fn shares_of_a_forward_pass() {
    for (attention, expected) in [
        (AttentionKernel::Dense, ["59.4", "27.0", "13.2", "0.4"]),
        (AttentionKernel::Causal, ["63.7", "28.9", "7.1", "0.3"]),
    ] {
        let shape = Gpt2Shape { attention, ..Gpt2Shape::default() };
        let kinds = [
            OperationKind::Linear,
            OperationKind::Head,
            OperationKind::Attention,
            OperationKind::Elementwise,
        ];
        let macs = kinds.map(|kind| per_token(&shape, kind));
        let all: f64 = macs.iter().sum();
        assert_eq!(macs.map(|macs| format!("{:.1}", 100.0 * macs / all)), expected);
    }
}

#[test]
fn adapters_per_token() {
    // 147 456 in + out of the 48 matrices, 51 025 of the head.
    for (block, head, expected) in [(64, 0, 9_437_184.0), (16, 0, 2_359_296.0), (0, 16, 816_400.0)]
    {
        let shape =
            Gpt2Shape { block_lora_rank: block, head_lora_rank: head, ..Gpt2Shape::default() };
        assert_eq!(per_token(&shape, OperationKind::Adapter), expected);
    }
}

#[test]
fn a_tiny_network_by_hand() {
    let shape = Gpt2Shape {
        n_layer: 1,
        n_head: 2,
        n_embd: 4,
        vocab_size: 10,
        seq: 3,
        attention: AttentionKernel::Causal,
        block_lora_rank: 1,
        head_lora_rank: 2,
    };
    let found: Vec<_> =
        shape.operations().unwrap().into_iter().map(|it| (it.name, it.macs)).collect();
    let expected = [
        ("wte", 0),
        ("wpe", 0),
        ("h.0.ln_1", 36),             // 3 * 3 * 4
        ("h.0.attn.c_attn", 144),     // 3 * 4 * 12
        ("h.0.attn.c_attn.lora", 48), // 3 * (4 + 12)
        ("h.0.attn.scores", 24),      // 4 * (1 + 2 + 3)
        ("h.0.attn.softmax", 24),     // 2 * 2 * 6
        ("h.0.attn.values", 24),
        ("h.0.attn.c_proj", 48),      // 3 * 4 * 4
        ("h.0.attn.c_proj.lora", 24), // 3 * (4 + 4)
        ("h.0.ln_2", 36),
        ("h.0.mlp.c_fc", 192),     // 3 * 4 * 16
        ("h.0.mlp.c_fc.lora", 60), // 3 * (4 + 16)
        ("h.0.mlp.gelu", 288),     // 6 * 3 * 16
        ("h.0.mlp.c_proj", 192),
        ("h.0.mlp.c_proj.lora", 60),
        ("ln_f", 36),
        ("lm_head", 120),     // 3 * 4 * 10
        ("lm_head.lora", 84), // 3 * 2 * (4 + 10)
    ];
    assert_eq!(found, expected.map(|(name, macs)| (name.to_owned(), macs)));
}

#[test]
fn the_widths_of_each_kind() {
    let [six, eight] = [6, 8].map(|bits| OperandWidth::fixed(bits).unwrap());
    let policy = CostPolicy {
        base: Base::Frozen,
        attention: Operands { weight: six, activation: OperandWidth::SCHEDULED, gradient: eight },
        ..CostPolicy::default()
    };
    let meters = |kind| {
        let operation = Operation { name: String::new(), kind, macs: 10 };
        [operation.forward(&policy).step(4), operation.backward(&policy).step(4)]
    };
    assert_eq!(meters(OperationKind::Linear), [160, 320]); // 4 * 4; 4 * 8 of the input only
    assert_eq!(meters(OperationKind::Adapter), [160, 640]); // both
    assert_eq!(meters(OperationKind::Attention), [240, 800]); // 6 * 4; 6 * 8 and 4 * 8
    assert_eq!(meters(OperationKind::Head), [10_240, 10_240]); // 32 * 32 of the input only
    assert_eq!(meters(OperationKind::Elementwise), [10_240, 20_480]);
}

#[test]
fn everything_quantised_and_trained_is_the_meter_of_cpt() {
    let policy = CostPolicy { head: Operands::CPT, attention: Operands::CPT, ..Default::default() };
    let operations = Gpt2Shape::default().operations().unwrap();
    let quantised = operations.iter().filter(|it| it.kind != OperationKind::Elementwise);
    let macs: u64 = quantised.clone().map(|it| it.macs).sum();
    let meter: Meter = quantised.map(|it| it.forward(&policy) + it.backward(&policy)).sum();
    for bits in 2..=32 {
        assert_eq!(meter.step(bits), u128::from(macs) * Meter::cpt(8).step(bits), "{bits}");
    }
}

/// What the meter of CPT does not see. Per token, 84.93 M of the matrices cost 192 each at 8 bits and
/// 134.2 with CR from 4 to 8, which saves 30.1 %; 58.05 M at full precision cost 3 * 1024 each.
#[test]
fn what_is_not_quantised_is_most_of_the_cost() {
    let widths = crate::Widths::new(4..=8).unwrap();
    let usage = ScheduleConfig { widths, ..Default::default() }.over(64_000).unwrap().usage();
    let saved = |policy: CostPolicy| {
        let meter = Gpt2Shape::default().meter(&policy).unwrap();
        format!("{:.1}", 100.0 * (1.0 - meter.relative(&usage, 8).unwrap()))
    };
    // 84.93 * 57.8 of 84.93 * 192 + 58.05 * 3072
    assert_eq!(saved(CostPolicy::default()), "2.5");
    let all = CostPolicy { head: Operands::CPT, attention: Operands::CPT, ..Default::default() };
    // 142.4 * 57.8 of 142.4 * 192 + 0.574 * 3072
    assert_eq!(saved(all), "28.3");
}

#[test]
fn the_doc_has_a_configuration_that_parses() {
    let shape: Gpt2Shape = toml::from_str(&crate::conformance::snippet("gpt2_cost")).unwrap();
    assert_eq!(shape, Gpt2Shape { block_lora_rank: 16, ..Gpt2Shape::default() });
    assert_eq!(toml::from_str(&toml::to_string(&shape).unwrap()), Ok(shape));
    let error = toml::from_str::<Gpt2Shape>("layers = 12").unwrap_err();
    assert!(error.message().contains("unknown field `layers`, expected one of `n_layer`"));
}

#[test]
fn shapes_that_are_none() {
    let small = Gpt2Shape::default;
    for (shape, expected) in [
        (Gpt2Shape { seq: 0, ..small() }, "`seq` is 0, expected at least 1"),
        (Gpt2Shape { n_layer: 5_000, ..small() }, "`n_layer` is 5000, expected at most 4096"),
        (
            Gpt2Shape { head_lora_rank: u64::MAX, ..small() },
            "`head_lora_rank` is 18446744073709551615, expected at most 16777216",
        ),
        (Gpt2Shape { n_head: 10, ..small() }, "`n_head` is 10, which does not divide `n_embd` 768"),
        (Gpt2Shape { n_embd: 12 << 20, seq: 1 << 24, vocab_size: 1, ..small() }, "the shape has"),
    ] {
        let error = shape.operations().unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
        assert_eq!(shape.meter(&CostPolicy::default()), Err(error));
    }
}
