// Part of the sanitizer build only. The Lite runtime opens a plugin library and never frees that
// library's static objects; leaks of this program itself are still found.
extern "C" {

const char *__asan_default_options();
const char *__lsan_default_suppressions();

// The runtime is built without frame pointers: only the slow unwinder sees who allocated.
const char *__asan_default_options() { return "fast_unwind_on_malloc=0"; }

const char *__lsan_default_suppressions() {
  return "leak:mindspore::infer::LiteRTExecutorPlugin::Register\n";
}
}
