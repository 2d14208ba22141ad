#pragma once
// The threads of a build and the bounded queue of nodes before them.

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/cancel.hpp"
#include "base/status.hpp"

namespace tandem::graph {

/// A node on its way into the graph.
struct PendingNode {
  const char* data;  ///< as the graph stores it
  std::uint32_t label;
  int level;
};

/// Filled by one thread, emptied by its own. Nodes travel in batches, so that the lock is taken once in a while only.
/// A node that raises the graph's top level travels alone: nothing else runs while it is inserted, in the order of the queue.
class BuildQueue {
 public:
  /// Called on build threads. May throw: the build then ends, and Join() says why.
  using Insert = void (*)(void* state, const PendingNode& node);
  /// Called on one build thread: for Run(), and when all nodes are inserted. As Insert.
  using Task = void (*)(void* state);

  struct Parameters {
    std::size_t node_bytes;
    unsigned threads;  ///< >= 1
    int nice;
    Insert insert;
    Task complete;
    void* state;
    base::CancelToken* cancel;  ///< set by Cancel() and by failures
  };

  /// Starts the threads, all signals blocked in them. If the system gives none, std::system_error; fewer than asked for will do.
  explicit BuildQueue(const Parameters& parameters);
  /// Cancels and joins.
  ~BuildQueue();
  BuildQueue(const BuildQueue&) = delete;
  BuildQueue& operator=(const BuildQueue&) = delete;

  /// True if Add() will not wait.
  [[nodiscard]] bool HasRoom() const noexcept;
  /// Copies the node's data. Waits for room. After a failure or Cancel() nodes are dropped.
  void Add(const PendingNode& node, bool alone);
  /// Has a thread run `task` after all that was added before, and before what comes after. Waits for room, as Add().
  void Run(Task task);
  /// Before End(): nothing waits or is at work but what Add() has not passed on yet, or the build was stopped.
  [[nodiscard]] bool Idle() const noexcept;
  void AwaitIdle();
  /// Data of a node that was added and may not have been inserted yet; nullptr if its place was given to others, which
  /// happens after its insertion only. Called by the adding thread.
  [[nodiscard]] const char* Find(std::uint32_t label) const noexcept;
  /// No more nodes will come.
  void End();
  /// All inserted and completed, or stopped.
  [[nodiscard]] bool Done() const noexcept;
  /// True after a failure or Cancel(); any thread.
  [[nodiscard]] bool stopped() const noexcept { return parameters_.cancel->cancelled(); }
  /// Any thread. Threads stop after the node at hand.
  void Cancel() noexcept;
  /// After End() or Cancel(). What ended the build: nothing, a failure, or kCancelled.
  [[nodiscard]] base::Status Join();

  [[nodiscard]] static std::size_t MemoryBytes(std::size_t node_bytes, unsigned threads) noexcept;

 private:
  // An insertion takes 50 us and more: eight of them make the lock a matter of one part in a thousand.
  static constexpr std::size_t kBatchNodes = 8;
  // One that is being filled, for each thread one at work, and two or more waiting: whoever hands nodes over may be away for
  // 10 ms and a little more, which 512 nodes a thread last for, in up to 2 MB.
  [[nodiscard]] static constexpr std::size_t Batches(std::size_t node_bytes, unsigned threads) noexcept {
    const std::size_t least = 3 * std::size_t{threads} + 3;
    const std::size_t wanted = 64 * std::size_t{threads};
    const std::size_t affordable = (std::size_t{2} << 20) / (kBatchNodes * node_bytes);
    return std::max(least, std::min(wanted, affordable));
  }

  struct Batch {
    std::unique_ptr<char[]> data;
    std::uint32_t labels[kBatchNodes];
    int levels[kBatchNodes];
    std::size_t nodes = 0;
    bool alone = false;
    Task task = nullptr;  ///< in place of nodes
  };

  void StartThreads(unsigned threads);
  void ThreadMain() noexcept;
  void RunBatches();
  void RunBatch(const Batch& batch);
  void RunUnlocked(std::unique_lock<std::mutex>* lock, const Batch* batch);
  [[nodiscard]] bool FrontMayStart() const noexcept;
  [[nodiscard]] bool OpenBatch();
  void CloseBatch();
  void Fail(base::ErrorKind kind, const char* what) noexcept;

  const Parameters parameters_;
  std::vector<Batch> batches_;
  Batch* open_ = nullptr;  ///< the adding thread's

  mutable std::mutex mutex_;  ///< guards what follows
  std::condition_variable work_;
  std::condition_variable room_;
  std::vector<Batch*> free_;
  std::vector<Batch*> ready_;  ///< oldest first
  std::size_t running_ = 0;
  bool running_alone_ = false;
  bool ended_ = false;
  bool completed_ = false;
  base::Status failure_;

  std::vector<std::thread> threads_;
};

}  // namespace tandem::graph
