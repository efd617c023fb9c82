// Hang oracle: a thread that a SIGKILL does not end is a diagnosis, not a time-out: who waits, in
// which call, for which request, in which phase, with which reference missing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "lib/driver_state.h"
#include "lib/findings.h"

namespace at {

// One task as /proc/PID/task/TID shows it.
struct TaskState {
    pid_t tid = 0;
    std::string comm;
    char state = '?'; // R S D Z …
    std::string wchan;
    std::string syscall;
    std::vector<std::string> stack; // innermost first, names alone
    std::string raw_stack;
};

std::vector<TaskState> read_tasks(pid_t pid);
std::vector<std::string> parse_stack(const std::string& text);
char parse_state(const std::string& status);

// The call the task is in, by what its kernel stack shows: exit_aio io_destroy io_submit
// io_cancel io_getevents preadv pwritev close, or empty.
std::string blocking_call(const std::vector<std::string>& stack);

// A thread that was longer in one call than all bounds of the target allow, and left it when it was
// killed.
Finding judge_killed_call(const std::string& call);

// A thread that sleeps uninterruptibly (D) with its SIGKILL pending.
struct KilledSleeper {
    pid_t tid = 0;
    std::string wchan;
};
std::vector<KilledSleeper> killed_sleepers(pid_t pid);
bool has_kill_pending(const std::string& status);

// Who slept so `before` and still does: a kill ends a wait for requests (fsync), and one for a
// request of its own but for the time that it takes to cancel it.
std::optional<Finding> judge_killed_sleepers(const std::vector<KilledSleeper>& before,
                                             const std::vector<KilledSleeper>& now,
                                             const std::vector<DriverRequest>& requests);

// `call_on_board` names what the ledger's board says of a task whose stack says nothing (one that
// runs in the kernel, or a kernel that shows no stacks).
Finding diagnose_hang(const std::vector<TaskState>& tasks,
                      const std::vector<DriverRequest>& requests, bool driver_blocked,
                      const std::string& call_on_board);

// By how long the kworkers of some CPU have run nothing.
std::optional<Finding> judge_kworkers(std::uint64_t silence_ns);

// The driver's books, when they could not be read: `blocked`, they are there and do not answer.
std::optional<Finding> judge_unread_books(bool blocked);

} // namespace at
