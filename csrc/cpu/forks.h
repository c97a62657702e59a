// What a child process finds in order, whatever threads of its parent were at when it was forked.
#pragma once

#include <mutex>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace greenkernels::cpu {

// From now on a fork waits for kMutex() to be free, and the child has it free: of the threads of the parent
// only the one that forks is there, and no other could ever unlock it. kInChild() runs in the child while it
// is held.
template <std::mutex& (*kMutex)(), void (*kInChild)() = nullptr>
bool forks_wait() {
#if defined(__unix__) || defined(__APPLE__)
  const auto lock = [] { kMutex().lock(); };
  const auto unlock = [] { kMutex().unlock(); };
  const auto child = [] {
    if constexpr (kInChild != nullptr) kInChild();
    kMutex().unlock();
  };
  return pthread_atfork(lock, unlock, child) == 0;
#else
  return true;
#endif
}

}  // namespace greenkernels::cpu
