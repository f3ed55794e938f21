// Packed weights in f16, two a word: no device feature is needed, and sums stay f32.
@group(0) @binding(2) var<storage, read> weights: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> biases: array<vec4<f32>>;

fn weight(i: u32) -> vec4<f32> {
    let pair = weights[i];
    return vec4<f32>(unpack2x16float(pair.x), unpack2x16float(pair.y));
}
