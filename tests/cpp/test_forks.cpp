// Processes that are forked while threads of their parent compute: they lease memory and share out work as
// well.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "check.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"
#include "raw/parallel.h"

namespace {

using namespace greenkernels;

constexpr unsigned kPatience = 60;  // seconds after which a child that stands still is ended

// Whether a child did this and came to its end.
template <typename Body>
bool child_ends(const Body& body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(kPatience);
    _exit(body() ? 0 : 1);
  }
  int status = -1;
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool leases_memory() {
  const cpu::ScratchLease lease(1000);
  lease.as<char>()[999] = 1;
  return true;
}

bool shares_out_work() {
  std::atomic<int64_t> sum{0};
  cpu::parallel_for_pieces(100, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) sum += i;
  });
  return sum == 4950;
}

template <typename Body>
void forks_beside(const char* what, const Body& body) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      while (!stop) body();
    });
  }
  int ended = 0;
  for (int i = 0; i < 100 && ended == i; ++i) ended += child_ends(body);
  stop = true;
  for (std::thread& thread : threads) thread.join();
  GK_EXPECT(ended == 100, "%s: child %d stands still", what, ended);
}

}  // namespace

int main() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  std::printf("left out: sanitizers themselves hold locks over forks\n");
  return 0;
#endif
  raw::set_num_threads(3);
  forks_beside("leases", leases_memory);
  GK_EXPECT(shares_out_work() && child_ends(shares_out_work) && shares_out_work(), "a pool before the fork");
  forks_beside("work", shares_out_work);
  return test::result();
}
