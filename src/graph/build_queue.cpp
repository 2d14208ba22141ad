#include "graph/build_queue.hpp"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

#include <cerrno>
#include <csignal>
#include <cstring>
#include <exception>
#include <new>

namespace tandem::graph {
namespace {

/// Blocks every signal for the threads created while it lives: a handler of the server must never run on them (hazard H30).
class AllSignalsBlocked {
 public:
  AllSignalsBlocked() noexcept {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~AllSignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  AllSignalsBlocked(const AllSignalsBlocked&) = delete;
  AllSignalsBlocked& operator=(const AllSignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

/// Makes the calling thread nicer. On Linux niceness belongs to threads; elsewhere it belongs to the process and stays.
void BeNicer(int by) noexcept {
#ifdef __linux__
  if (by == 0) return;
  const auto thread = static_cast<id_t>(syscall(SYS_gettid));
  errno = 0;
  const int now = getpriority(PRIO_PROCESS, thread);
  if (errno == 0) setpriority(PRIO_PROCESS, thread, now + by);
#else
  static_cast<void>(by);
#endif
}

}  // namespace

BuildQueue::BuildQueue(const Parameters& parameters)
    : parameters_(parameters), batches_(Batches(parameters.node_bytes, parameters.threads)) {
  free_.reserve(batches_.size());
  ready_.reserve(batches_.size());
  for (Batch& batch : batches_) {
    batch.data.reset(new char[kBatchNodes * parameters_.node_bytes]);
    free_.push_back(&batch);
  }
  StartThreads(parameters_.threads);
}

BuildQueue::~BuildQueue() {
  Cancel();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void BuildQueue::StartThreads(unsigned threads) {
  threads_.reserve(threads);
  const AllSignalsBlocked blocked;
  try {
    while (threads_.size() < threads) threads_.emplace_back([this] { ThreadMain(); });
  } catch (...) {
    // Fewer threads than asked for will do; and an exception that left here would meet running ones in the destructor
    // of threads_, which is the end of the process.
    if (threads_.empty()) throw;
  }
}

bool BuildQueue::HasRoom() const noexcept {
  if (stopped()) return true;
  const std::lock_guard<std::mutex> lock(mutex_);
  return !free_.empty();
}

void BuildQueue::Add(const PendingNode& node, bool alone) {
  if (alone) CloseBatch();
  if (open_ == nullptr && !OpenBatch()) return;
  Batch& batch = *open_;
  std::memcpy(batch.data.get() + batch.nodes * parameters_.node_bytes, node.data, parameters_.node_bytes);
  batch.labels[batch.nodes] = node.label;
  batch.levels[batch.nodes] = node.level;
  batch.alone = alone;
  ++batch.nodes;
  if (alone || batch.nodes == kBatchNodes) CloseBatch();
}

void BuildQueue::Run(Task task) {
  CloseBatch();
  if (!OpenBatch()) return;
  open_->task = task;
  open_->alone = true;
  CloseBatch();
}

bool BuildQueue::Idle() const noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  return stopped() || (running_ == 0 && ready_.empty());
}

void BuildQueue::AwaitIdle() {
  std::unique_lock<std::mutex> lock(mutex_);
  room_.wait(lock, [this] { return stopped() || (running_ == 0 && ready_.empty()); });
}

const char* BuildQueue::Find(std::uint32_t label) const noexcept {
  // Batches change in OpenBatch() and Add() only, that is on this thread, whoever reads them meanwhile.
  for (const Batch& batch : batches_) {
    for (std::size_t i = 0; i < batch.nodes; ++i) {
      if (batch.labels[i] == label) return batch.data.get() + i * parameters_.node_bytes;
    }
  }
  return nullptr;
}

bool BuildQueue::OpenBatch() {
  std::unique_lock<std::mutex> lock(mutex_);
  room_.wait(lock, [this] { return !free_.empty() || stopped(); });
  if (stopped()) return false;
  open_ = free_.back();
  free_.pop_back();
  open_->nodes = 0;
  open_->task = nullptr;
  return true;
}

void BuildQueue::CloseBatch() {
  if (open_ == nullptr) return;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ready_.push_back(open_);
  }
  open_ = nullptr;
  work_.notify_one();
}

void BuildQueue::End() {
  CloseBatch();
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ended_ = true;
  }
  work_.notify_all();
}

bool BuildQueue::Done() const noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  return running_ == 0 && (stopped() || completed_);
}

void BuildQueue::Cancel() noexcept {
  {
    // Under the lock, so that no thread falls asleep between its look at the token and our call.
    const std::lock_guard<std::mutex> lock(mutex_);
    parameters_.cancel->Cancel();
  }
  work_.notify_all();
  room_.notify_all();
}

base::Status BuildQueue::Join() {
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
  if (!failure_.ok()) return failure_;
  if (stopped()) return base::Status::Error(base::ErrorKind::kCancelled, "graph build was cancelled");
  return {};
}

std::size_t BuildQueue::MemoryBytes(std::size_t node_bytes, unsigned threads) noexcept {
  // Of a thread's stack and its allocator's arena, so much is touched.
  constexpr std::size_t kThreadBytes = std::size_t{512} << 10;
  if (threads == 0) return 0;
  return threads * kThreadBytes + Batches(node_bytes, threads) * (sizeof(Batch) + kBatchNodes * node_bytes);
}

void BuildQueue::ThreadMain() noexcept {
  BeNicer(parameters_.nice);
  try {
    RunBatches();
  } catch (const std::bad_alloc&) {
    Fail(base::ErrorKind::kLimitExceeded, "out of memory");
  } catch (const std::exception& error) {
    Fail(base::ErrorKind::kCorrupted, error.what());
  } catch (...) {
    Fail(base::ErrorKind::kCorrupted, "unknown exception");
  }
}

void BuildQueue::RunBatches() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    work_.wait(lock, [this] { return stopped() || FrontMayStart() || (ended_ && ready_.empty()); });
    if (stopped()) return;
    if (ready_.empty()) break;
    Batch* batch = ready_.front();
    ready_.erase(ready_.begin());
    running_alone_ = batch->alone;
    RunUnlocked(&lock, batch);
    running_alone_ = false;
    free_.push_back(batch);
    // A batch that travels alone waits for the last of the others, and all others wait for it.
    work_.notify_all();
    room_.notify_one();
  }
  if (running_ > 0 || completed_) return;  // whoever runs the last batch comes by here after it
  RunUnlocked(&lock, nullptr);
  completed_ = true;
}

/// Runs a batch, or completes the build, without the lock.
void BuildQueue::RunUnlocked(std::unique_lock<std::mutex>* lock, const Batch* batch) {
  ++running_;
  lock->unlock();
  try {
    if (batch != nullptr) {
      RunBatch(*batch);
    } else {
      parameters_.complete(parameters_.state);
    }
  } catch (...) {
    lock->lock();
    // Before anybody may think that what ran here has come to its end.
    parameters_.cancel->Cancel();
    --running_;
    throw;
  }
  lock->lock();
  --running_;
}

void BuildQueue::RunBatch(const Batch& batch) {
  if (batch.task != nullptr) batch.task(parameters_.state);
  for (std::size_t i = 0; i < batch.nodes && !stopped(); ++i) {
    parameters_.insert(parameters_.state, PendingNode{batch.data.get() + i * parameters_.node_bytes,
                                                      batch.labels[i], batch.levels[i]});
  }
}

bool BuildQueue::FrontMayStart() const noexcept {
  if (ready_.empty() || running_alone_) return false;
  return !ready_.front()->alone || running_ == 0;
}

void BuildQueue::Fail(base::ErrorKind kind, const char* what) noexcept {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (failure_.ok()) failure_ = base::Status::Error(kind, "could not build a graph: %s", what);
  }
  Cancel();
}

}  // namespace tandem::graph
