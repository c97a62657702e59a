// Preloaded under a program of tests: fails one allocation of the kernels, or kills the process while it
// writes a file.
#include <dlfcn.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <new>

extern "C" void* __libc_malloc(size_t bytes);
extern "C" void* __libc_memalign(size_t alignment, size_t bytes);

namespace {

const char *code_begin, *code_end;    // of the library whose allocations are counted
std::atomic<long> allocations{0};     // since fault_fail_allocation
std::atomic<long> failing{0};         // the one that fails, from 1; 0 for none
std::atomic<long> steps{0}, last{0};  // of writing, and the one that is not survived, from 1; 0 for none

bool fails(const void* caller) {
  const char* at = static_cast<const char*>(caller);
  return at >= code_begin && at < code_end && ++allocations == failing;
}

bool is_last(int file) {
  struct stat about;
  return last != 0 && fstat(file, &about) == 0 && S_ISREG(about.st_mode) && ++steps == last;
}

void die() { kill(getpid(), SIGKILL); }

template <typename Function>
Function next(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

void fault_watch(const char* begin, const char* end) { code_begin = begin, code_end = end; }

void fault_fail_allocation(long which) { allocations = 0, failing = which; }

long fault_allocations() { return allocations; }

// Writing a file and giving it its name are a step each; the process dies in the middle of a write, before a
// file gets its name, or right after.
void fault_die_at(long step) { steps = 0, last = step; }

void* malloc(size_t bytes) {
  if (!fails(__builtin_return_address(0))) return __libc_malloc(bytes);
  errno = ENOMEM;
  return nullptr;
}

void* aligned_alloc(size_t alignment, size_t bytes) {
  if (!fails(__builtin_return_address(0))) return __libc_memalign(alignment, bytes);
  errno = ENOMEM;
  return nullptr;
}

ssize_t write(int file, const void* data, size_t bytes) {
  static const auto real = next<ssize_t (*)(int, const void*, size_t)>("write");
  if (!is_last(file)) return real(file, data, bytes);
  real(file, data, bytes / 2);
  die();
  return -1;
}

int rename(const char* from, const char* to) {
  static const auto real = next<int (*)(const char*, const char*)>("rename");
  if (last != 0 && ++steps == last) die();
  const int done = real(from, to);
  if (last != 0 && ++steps == last) die();
  return done;
}

}  // extern "C"

void* operator new(size_t bytes) {
  void* const data = fails(__builtin_return_address(0)) ? nullptr : __libc_malloc(bytes ? bytes : 1);
  return data ? data : throw std::bad_alloc();
}

void* operator new(size_t bytes, std::align_val_t alignment) {
  const bool failed = fails(__builtin_return_address(0));
  void* const data = failed ? nullptr : __libc_memalign(size_t(alignment), bytes);
  return data ? data : throw std::bad_alloc();
}
