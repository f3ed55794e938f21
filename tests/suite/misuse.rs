pub(crate) const TESTS: &[crate::PlainTest] = &[];
pub(crate) const ENGINE_TESTS: &[crate::EngineTest] = &[];
