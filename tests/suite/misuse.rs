//! Callers' mistakes: each is an error of its kind whose message names the thing, what was wanted
//! and what was given; none is a panic. `OutOfMemory`, `DeviceLost` and `Internal` are failures of
//! a device, which no caller can ask for.

use std::sync::Arc;

use wgru::{
    Activation, Capabilities, CellFunctions, CellWeights, Convention, Device, ElementType, Error,
    ErrorKind, GpuContext, GpuOptions, Gru, GruConfig, GruWeights, LoadOptions, MatrixView, Plan,
    PlanOptions, ResetForm, Result, SequenceShape, Tensor, TensorSet,
};

use crate::PlainTest;
use crate::problem::{Network, config};

pub(crate) const TESTS: &[PlainTest] = &[
    ("configurations", configurations),
    ("canonical_weights", canonical_weights),
    ("tensors", tensors),
    ("named_tensors", named_tensors),
    ("load_options", load_options),
    ("names_of_things", names_of_things),
    ("devices", devices),
    ("capabilities", capabilities),
    ("plans", plans),
];

/// # Panics
/// Where `result` is no error of `kind`, or its message lacks one of `words` or has several lines.
#[track_caller]
pub(crate) fn refused<T>(what: &str, result: Result<T>, kind: ErrorKind, words: &[&str]) -> Error {
    let Err(error) = result else { panic!("{what}: was accepted") };
    assert_eq!(error.kind(), kind, "{what}: {error:?}");
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "{what}: '{message}' does not name {word}");
    }
    assert!(!message.contains('\n') && message.len() < 1300, "{what}: '{message}'");
    error
}

/// A valid configuration, spoiled.
fn spoiled(spoil: impl FnOnce(&mut GruConfig)) -> GruConfig {
    let mut config = GruConfig::new(3, 4);
    spoil(&mut config);
    config
}

fn configurations() {
    let clip = |clip| CellFunctions { clip: Some(clip), ..CellFunctions::default() };
    let huge = usize::MAX.to_string();
    let cases: [(GruConfig, &[&str]); 9] = [
        (spoiled(|c| c.input_size = 0), &["input_size", "at least 1", "0 was given"]),
        (spoiled(|c| c.hidden_size = 0), &["hidden_size", "at least 1", "0 was given"]),
        (spoiled(|c| c.num_layers = 0), &["num_layers", "at least 1", "0 was given"]),
        (spoiled(|c| c.input_size = usize::MAX), &["input_size", &huge, "memory"]),
        (spoiled(|c| c.hidden_size = 1 << 40), &["hidden_size 1099511627776", "memory"]),
        (spoiled(|c| c.num_layers = usize::MAX), &["num_layers", &huge, "memory"]),
        (spoiled(|c| c.functions[0] = clip(0.0)), &["clip", "above 0", "0 was given"]),
        (spoiled(|c| c.functions[0] = clip(-2.5)), &["clip", "above 0", "-2.5 was given"]),
        (spoiled(|c| c.functions[1] = clip(f32::NAN)), &["clip", "finite", "NaN was given"]),
    ];
    let shape = SequenceShape::new(1, 1);
    for (config, words) in cases {
        let what = format!("{config:?}");
        refused(&what, config.validate(), ErrorKind::InvalidConfig, words);
        let weights = GruWeights::new(&config, Vec::new());
        refused(&what, weights, ErrorKind::InvalidConfig, words);
        let plan = Plan::new(&config, shape, &Capabilities::downlevel(), &PlanOptions::default());
        refused(&what, plan, ErrorKind::InvalidConfig, words);
    }
}

fn cell(units: usize, inputs: usize) -> CellWeights {
    let matrix = |rows: usize, cols: usize| {
        let tensor = Tensor::from_f32("some.tensor", &[rows, cols], &vec![0.0; rows * cols]);
        MatrixView::new(&tensor.unwrap(), 0, [rows, cols], [cols, 1])
    };
    CellWeights {
        input: [(); 3].map(|()| matrix(units, inputs)),
        recurrent: [(); 3].map(|()| matrix(units, units)),
        input_bias: [(); 3].map(|()| Some(matrix(1, units))),
        recurrent_bias: [(); 3].map(|()| None),
    }
}

fn canonical_weights() {
    let config = GruConfig::new(3, 4);
    let wrong = |cells: Vec<CellWeights>, words: &[&str]| {
        refused("cells", GruWeights::new(&config, cells), ErrorKind::InvalidWeights, words);
    };
    wrong(vec![], &["1 cells", "0 cells"]);
    wrong(vec![cell(4, 3), cell(4, 3)], &["1 cells", "2 cells"]);
    wrong(vec![cell(4, 5)], &["some.tensor", "input", "[4, 3]", "[4, 5]"]);
    let mut mixed = cell(4, 3);
    mixed.recurrent[1] = cell(3, 3).recurrent[1].clone();
    wrong(vec![mixed], &["recurrent", "Update", "[4, 4]", "[3, 3]"]);
    let mut mixed = cell(4, 3);
    mixed.input_bias[2] = cell(5, 3).input_bias[2].clone();
    wrong(vec![mixed], &["input bias", "New", "[1, 4]", "[1, 5]"]);

    let weights = GruWeights::new(&config, vec![cell(4, 3)]).unwrap();
    let other = Gru::new(GruConfig::new(3, 5), weights.clone());
    refused("weights of another", other, ErrorKind::InvalidWeights, &["[5, 3]", "[4, 3]"]);
    let deeper = Gru::new(GruConfig { num_layers: 2, ..config }, weights);
    refused("weights of another", deeper, ErrorKind::InvalidWeights, &["2 cells", "1 cells"]);
}

fn tensors() {
    let few = Tensor::from_f32("w", &[2, 3], &[0.0; 5]);
    refused("few", few, ErrorKind::InvalidWeights, &["w", "[2, 3]", "6", "5"]);
    let many = Tensor::from_f64("w", &[2], &[0.0; 3]);
    refused("many", many, ErrorKind::InvalidWeights, &["w", "[2]", "3"]);
    let overflowing = Tensor::from_f32("w", &[usize::MAX, 2], &[]);
    let error = refused("overflowing", overflowing, ErrorKind::InvalidShape, &["w", "memory"]);
    assert!(error.to_string().contains(&usize::MAX.to_string()), "{error}");
    let bytes = Arc::new(vec![0; 10]);
    let short = Tensor::new("w", &[2], ElementType::F32, Arc::clone(&bytes), 4);
    refused("short", short, ErrorKind::InvalidWeights, &["w", "[2]", "byte 4", "10 bytes"]);
    let past = Tensor::new("w", &[1], ElementType::F64, bytes, usize::MAX);
    refused("past", past, ErrorKind::InvalidWeights, &["w", "10 bytes"]);
    refused("missing", TensorSet::new().get("w"), ErrorKind::InvalidWeights, &["w", "missing"]);
}

/// A set that loads, in PyTorch's names: I 3, H 4, one layer.
fn set() -> TensorSet {
    let mut set = TensorSet::new();
    put(&mut set, "weight_ih_l0", &[12, 3]);
    put(&mut set, "weight_hh_l0", &[12, 4]);
    put(&mut set, "bias_ih_l0", &[12]);
    put(&mut set, "bias_hh_l0", &[12]);
    set
}

fn put(set: &mut TensorSet, name: &str, shape: &[usize]) {
    let values = vec![0.25; shape.iter().product()];
    set.insert(Tensor::from_f32(name, shape, &values).unwrap());
}

fn named_tensors() {
    let load = |set: &TensorSet| Gru::from_tensors(set, &LoadOptions::new());
    assert!(load(&set()).is_ok());
    let wrong = |what: &str, spoil: &dyn Fn(&mut TensorSet), kind, words: &[&str]| {
        let mut set = set();
        spoil(&mut set);
        refused(what, load(&set), kind, words);
    };
    use ErrorKind::{InvalidFile, InvalidRequest, InvalidWeights, Unsupported};
    refused("nothing", load(&TensorSet::new()), InvalidWeights, &["no GRU", "weight_ih_l0"]);
    let mut alone = TensorSet::new();
    put(&mut alone, "weight_ih_l0", &[12, 3]);
    refused("no recurrent", load(&alone), InvalidWeights, &["weight_hh_l0", "missing"]);
    wrong(
        "misshapen",
        &|s| put(s, "bias_hh_l0", &[11]),
        InvalidWeights,
        &["bias_hh_l0", "[12]", "[11]"],
    );
    wrong(
        "no multiple of the gates",
        &|s| put(s, "weight_ih_l0", &[13, 3]),
        InvalidWeights,
        &["weight_ih_l0", "[12, 3]", "[13, 3]"],
    );
    wrong(
        "one dimension",
        &|s| put(s, "weight_hh_l0", &[48]),
        InvalidWeights,
        &["weight_hh_l0", "two dimensions", "[48]"],
    );
    wrong(
        "a second layer of other width",
        &|s| {
            put(s, "weight_ih_l1", &[12, 5]);
            put(s, "weight_hh_l1", &[12, 4]);
        },
        InvalidWeights,
        &["weight_ih_l1", "[12, 4]", "[12, 5]", "bias_ih_l1", "missing"],
    );
    wrong(
        "a gap",
        &|s| put(s, "weight_ih_l2", &[12, 4]),
        InvalidWeights,
        &["weight_ih_l1", "missing", "layer 2"],
    );
    let nan = |values: &mut [f32]| values[7] = f32::NAN;
    let inserted = |s: &mut TensorSet, spoil: &dyn Fn(&mut [f32])| {
        let mut values = vec![0.0; 48];
        spoil(&mut values);
        s.insert(Tensor::from_f32("weight_hh_l0", &[12, 4], &values).unwrap());
    };
    wrong("NaN", &|s| inserted(s, &nan), InvalidWeights, &["weight_hh_l0", "NaN", "[1, 3]"]);
    wrong(
        "infinite",
        &|s| inserted(s, &|v| v[47] = f32::NEG_INFINITY),
        InvalidWeights,
        &["weight_hh_l0", "-inf", "[11, 3]"],
    );
    let mut allowed = set();
    inserted(&mut allowed, &nan);
    let options = LoadOptions::new().allow_non_finite(true);
    assert!(Gru::from_tensors(&allowed, &options).is_ok(), "NaN is accepted where it is allowed");
    wrong(
        "beyond f32",
        &|s| s.insert(Tensor::from_f64("bias_ih_l0", &[12], &[1e39; 12]).unwrap()),
        InvalidWeights,
        &["bias_ih_l0", "1e39", "f32", "[0]"],
    );
    let mut lstm = TensorSet::new();
    put(&mut lstm, "weight_ih_l0", &[16, 3]);
    put(&mut lstm, "weight_hh_l0", &[16, 4]);
    refused("an LSTM", load(&lstm), Unsupported, &["LSTM", "[16, ", "4 gates", "3"]);
    let metadata: [(&str, &str, &[&str]); 4] = [
        ("wgru.reset", "sideways", &["wgru.reset", "sideways"]),
        ("wgru.version", "2", &["wgru.version", "2"]),
        ("wgru.novelty", "1", &["wgru.novelty"]),
        ("wgru.clip", "-1", &["wgru.clip", "-1"]),
    ];
    for (key, value, words) in metadata {
        wrong(key, &|s| s.set_metadata(key, value), InvalidFile, words);
    }
    wrong(
        "directions that the names contradict",
        &|s| s.set_metadata("wgru.directions", "bidirectional"),
        InvalidFile,
        &["bidirectional", "forward"],
    );
    wrong(
        "two networks",
        &|s| {
            put(s, "other.weight_ih_l0", &[12, 3]);
            put(s, "other.weight_hh_l0", &[12, 4]);
        },
        InvalidRequest,
        &["2 GRUs", "other"],
    );
}

fn load_options() {
    use ErrorKind::{InvalidRequest, Unsupported};
    let wrong = |what: &str, options: LoadOptions, kind, words: &[&str]| {
        let mut set = set();
        set.set_metadata("wgru.reset", "after");
        refused(what, Gru::from_tensors(&set, &options), kind, words);
    };
    let new = LoadOptions::new;
    wrong("a prefix", new().prefix("encoder"), InvalidRequest, &["encoder", "without prefix"]);
    wrong("a node", new().node("GRU_1"), InvalidRequest, &["GRU_1", "ONNX"]);
    wrong(
        "a convention",
        new().convention(Convention::Textbook),
        InvalidRequest,
        &["textbook", "pytorch"],
    );
    wrong(
        "another reset form than stated",
        new().reset(ResetForm::Before),
        InvalidRequest,
        &["after", "before"],
    );
    wrong("going backwards", new().go_backwards(true), InvalidRequest, &["Keras", "pytorch"]);
    let mut textbook = TensorSet::new();
    for letter in ["u", "R", "h"] {
        put(&mut textbook, &format!("W_{letter}"), &[4, 7]);
    }
    let relu = new().activations(Activation::Relu, Activation::Tanh);
    let gates = Gru::from_tensors(&textbook, &relu);
    refused("gates without 1 - f(a) = f(-a)", gates, Unsupported, &["sigmoid", "Relu"]);
}

fn names_of_things() {
    let names = "pytorch, textbook, keras, onnx or wgru";
    let convention = Convention::from_name("caffe");
    refused("a convention", convention, ErrorKind::InvalidRequest, &[names, "caffe"]);
    let unknown = Activation::from_name("swish", None, None);
    refused("an activation", unknown, ErrorKind::Unsupported, &["swish", "Sigmoid"]);
    let parameter = Activation::from_name("tanh", Some(0.5), None);
    refused("a parameter", parameter, ErrorKind::Unsupported, &["tanh", "alpha", "0.5"]);
    let infinite = Activation::from_name("Elu", Some(f32::INFINITY), None);
    refused("a parameter", infinite, ErrorKind::Unsupported, &["Elu", "alpha", "inf"]);
    let text = "Elu(0.5".parse::<Activation>();
    refused("its text", text, ErrorKind::InvalidRequest, &["Name(alpha)", "Elu(0.5"]);
}

fn devices() {
    for request in ["voodoo2", "", "99", "-1", "cpu gpu"] {
        let words = ["auto, cpu, gpu, reference", &format!("'{request}'")];
        let error = refused(request, Device::find(request), ErrorKind::NoDevice, &words);
        for adapter in wgru::adapters() {
            assert!(error.to_string().contains(&adapter.name), "{error} lists the adapters");
        }
    }
    let count = wgru::adapters().len();
    for index in [count, usize::MAX] {
        let words = [&format!("adapter {index}")[..], &format!("{count} were found")];
        let opened = GpuContext::open(index, &GpuOptions::default());
        refused("an index", opened, ErrorKind::NoDevice, &words);
        refused("an index", Device::adapter(index), ErrorKind::NoDevice, &words);
    }
}

/// A limit below what every plan needs.
fn capabilities() {
    type Shorten = fn(&mut Capabilities);
    let short: [(Shorten, &[&str]); 4] = [
        (|c| c.max_storage_buffers = 4, &["storage buffers", "4", "5"]),
        (|c| c.max_invocations = 32, &["invocations", "32"]),
        (|c| c.max_storage_binding = 4096, &["storage binding", "4096", "1048576"]),
        (|c| c.max_uniform_binding = 16, &["uniform binding", "16", "4096"]),
    ];
    for (shorten, words) in short {
        let mut capabilities = Capabilities::downlevel();
        shorten(&mut capabilities);
        let kind = ErrorKind::UnsupportedDevice;
        refused("a device", capabilities.validate(), kind, words);
        let shape = SequenceShape::new(2, 2);
        let plan = Plan::new(&GruConfig::new(3, 4), shape, &capabilities, &PlanOptions::default());
        refused("a plan for it", plan, kind, words);
    }
}

fn plans() {
    let plan = |config: &GruConfig, shape, options: &PlanOptions| {
        Plan::new(config, shape, &Capabilities::downlevel(), options)
    };
    let config = config([3, 64, 2], wgru::Directions::Bidirectional, ResetForm::Before);
    let shape = SequenceShape::new(10, 10);
    for (name, options) in zero_options() {
        let words = [name, "at least 1", "0 was given"];
        refused(name, plan(&config, shape, &options), ErrorKind::InvalidRequest, &words);
    }
    let options = PlanOptions { memory_budget: Some(1234), ..PlanOptions::default() };
    let words = ["budget is 1234", "bytes"];
    refused("a budget", plan(&config, shape, &options), ErrorKind::ExceedsLimits, &words);
    // Weights of one block of units beyond the binding limit.
    let wide = GruConfig::new(1 << 28, 4);
    let words = ["134217728"];
    let refusal = plan(&wide, shape, &PlanOptions::default());
    refused("a wide input", refusal, ErrorKind::ExceedsLimits, &words);
    // A plan is no allocation: its own size must not follow the shape without bound.
    for shape in [[usize::MAX, 1], [1, usize::MAX], [usize::MAX, usize::MAX], [1 << 40, 1 << 20]] {
        let shape = SequenceShape::new(shape[0], shape[1]);
        match plan(&config, shape, &PlanOptions::default()) {
            Ok(_) => panic!("a plan for {shape} was made"),
            Err(e) => assert!(
                matches!(e.kind(), ErrorKind::InvalidShape | ErrorKind::ExceedsLimits),
                "{shape}: {e:?}"
            ),
        }
    }
}

/// Every option that must not be zero, by name.
pub(crate) fn zero_options() -> [(&'static str, PlanOptions); 3] {
    let default = PlanOptions::default;
    [
        ("memory_budget", PlanOptions { memory_budget: Some(0), ..default() }),
        ("max_chunk_steps", PlanOptions { max_chunk_steps: Some(0), ..default() }),
        ("max_tile_rows", PlanOptions { max_tile_rows: Some(0), ..default() }),
    ]
}

/// A network for mistakes: I 3, H 4, L 1.
pub(crate) fn network(directions: wgru::Directions) -> Gru {
    Network::random(config([3, 4, 1], directions, ResetForm::After), true, 91).gru()
}
