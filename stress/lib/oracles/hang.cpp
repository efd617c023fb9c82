#include "lib/oracles/hang.h"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "lib/bounded.h"
#include "lib/system.h"

namespace at {

namespace {

constexpr std::chrono::milliseconds proc_bound{500};
// A work item that keeps the others of its CPU waiting for so long is no busy host any more.
constexpr std::uint64_t kworkers_ns = 30000000000;

std::string first_line(const std::string& text) {
    return text.substr(0, text.find('\n'));
}

std::string without_prefix(std::string name) {
    for (const char* prefix : {"__x64_sys_", "__arm64_sys_", "__se_sys_", "__do_sys_",
                               "__ia32_sys_", "ksys_", "do_sys_", "sys_"})
        if (name.starts_with(prefix))
            return name.substr(std::string_view(prefix).size());
    return name;
}

// Who waits first: exit_aio and io_destroy wait for others' requests, the rest for their own.
const char* const calls_by_weight[] = {"exit_aio",     "io_destroy", "io_cancel", "io_submit",
                                       "io_getevents", "preadv",     "pwritev",   "close"};

std::size_t weight(const std::string& call) {
    const auto* at = std::find(std::begin(calls_by_weight), std::end(calls_by_weight), call);
    return static_cast<std::size_t>(at - std::begin(calls_by_weight));
}

} // namespace

std::vector<std::string> parse_stack(const std::string& text) {
    // "[<0>] kill_ioctx+0xc4/0xe0 [module]"
    std::vector<std::string> names;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        const auto close = line.find("] ");
        std::string name = close == std::string::npos ? line : line.substr(close + 2);
        name = name.substr(0, name.find_first_of("+ "));
        // Compiler's copies of a function are the function.
        for (const char* suffix : {".isra", ".part", ".constprop", ".cold"})
            name = name.substr(0, name.find(suffix));
        if (!name.empty())
            names.push_back(name);
    }
    return names;
}

char parse_state(const std::string& status) {
    const auto at = status.find("State:");
    const auto letter = at == std::string::npos ? at : status.find_first_not_of(" \t", at + 6);
    return letter == std::string::npos ? '?' : status[letter];
}

std::string blocking_call(const std::vector<std::string>& stack) {
    for (const std::string& frame : stack) {
        const std::string name = without_prefix(frame);
        if (name == "exit_aio" || name == "io_destroy" || name == "io_submit" ||
            name == "io_cancel" || name == "io_getevents" || name == "preadv" ||
            name == "pwritev" || name == "close")
            return name;
        if (name == "do_preadv" || name == "read" || name == "vfs_read")
            return "preadv";
        if (name == "do_pwritev" || name == "write" || name == "vfs_write")
            return "pwritev";
        if (name == "__fput")
            return "close";
    }
    return "";
}

std::vector<TaskState> read_tasks(pid_t pid) {
    std::vector<TaskState> tasks;
    const std::string root = "/proc/" + std::to_string(pid) + "/task";
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(root, error)) {
        const std::string path = entry.path().string();
        TaskState task;
        task.tid = static_cast<pid_t>(std::atoi(entry.path().filename().c_str()));
        task.comm = first_line(read_file(path + "/comm").value_or(""));
        task.state = parse_state(read_file(path + "/status").value_or(""));
        task.wchan = first_line(read_file(path + "/wchan").value_or(""));
        task.syscall = first_line(read_file(path + "/syscall").value_or(""));
        task.raw_stack = bounded_read(path + "/stack", proc_bound).text;
        task.stack = parse_stack(task.raw_stack);
        tasks.push_back(std::move(task));
    }
    return tasks;
}

// "SigPnd:\t0000000000000100": a fatal signal is added to each thread's own (kernel/signal.c,
// complete_signal(), zap_other_threads()).
bool has_kill_pending(const std::string& status) {
    constexpr char field[] = "SigPnd:";
    const auto at = status.find(field);
    return at != std::string::npos &&
           std::strtoull(status.c_str() + at + sizeof field - 1, nullptr, 16) >> (SIGKILL - 1) & 1;
}

std::vector<KilledSleeper> killed_sleepers(pid_t pid) {
    std::vector<KilledSleeper> sleepers;
    std::error_code error;
    for (const auto& entry :
         std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task", error)) {
        const std::string path = entry.path().string();
        const std::string status = read_file(path + "/status").value_or("");
        if (parse_state(status) == 'D' && has_kill_pending(status))
            sleepers.push_back({static_cast<pid_t>(std::atoi(entry.path().filename().c_str())),
                                first_line(read_file(path + "/wchan").value_or(""))});
    }
    return sleepers;
}

std::optional<Finding> judge_killed_sleepers(const std::vector<KilledSleeper>& before,
                                             const std::vector<KilledSleeper>& now,
                                             const std::vector<DriverRequest>& requests) {
    const auto not_cancelled = [](const DriverRequest& request) {
        const auto& held = request.references;
        return request.sync && request.phase == "queue" && !request.result &&
               std::find(held.begin(), held.end(), "cancel") == held.end();
    };
    for (const KilledSleeper& sleeper : now) {
        if (std::none_of(before.begin(), before.end(),
                         [&](const KilledSleeper& known) { return known.tid == sleeper.tid; }))
            continue;
        const std::string where = "thread " + std::to_string(sleeper.tid) + " in " + sleeper.wchan;
        if (sleeper.wchan.find("fsync") != std::string::npos)
            return Finding{
                "hang", "a killed process waits on in fsync", "hang/not-killable/fsync", {where}};
        for (const DriverRequest& request : requests)
            if (request.thread == sleeper.tid && not_cancelled(request))
                return Finding{"hang",
                               "a killed process waits for a request that nobody has cancelled",
                               "hang/not-killable/sync",
                               {where, "request " + request.line}};
    }
    return std::nullopt;
}

Finding judge_killed_call(const std::string& call) {
    return {"hang",
            "a thread was stuck in " + call + " until it was killed",
            "hang/killed/" + call,
            {}};
}

Finding diagnose_hang(const std::vector<TaskState>& tasks,
                      const std::vector<DriverRequest>& requests, bool driver_blocked,
                      const std::string& call_on_board) {
    const TaskState* victim = nullptr;
    std::string call;
    for (const TaskState& task : tasks) {
        if (task.state == 'Z' || task.state == 'X')
            continue;
        const std::string name = blocking_call(task.stack);
        if (!victim || weight(name) < weight(call)) {
            victim = &task;
            call = name;
        }
    }
    if (call.empty())
        call = call_on_board;
    if (call.empty())
        call = "the kernel";
    const bool runs = victim && victim->state == 'R';
    const DriverRequest* oldest = nullptr;
    for (const DriverRequest& request : requests)
        if (!oldest || request.age_us > oldest->age_us)
            oldest = &request;

    Finding finding;
    finding.oracle = "hang";
    finding.title = std::string(runs ? "unkillable loop in " : "unkillable wait in ") + call;
    finding.signature = "hang/" + call;
    if (oldest) {
        finding.title += ": " + where_it_stands(*oldest);
        finding.signature += "/" + signature_of(*oldest);
    } else if (driver_blocked) {
        finding.title += ": the driver's books do not answer";
        finding.signature += "/books-blocked";
    } else {
        finding.title += ": no request left in the driver";
        finding.signature += "/no-request";
    }
    for (const TaskState& task : tasks) {
        std::string line = "task " + std::to_string(task.tid) + " " + task.comm + " state " +
                           task.state + " wchan " + task.wchan + " syscall " + task.syscall +
                           " stack";
        for (const std::string& frame : task.stack)
            line += " " + frame;
        finding.evidence.push_back(line);
    }
    for (std::size_t i = 0; i < std::min<std::size_t>(requests.size(), 8); ++i)
        finding.evidence.push_back("request " + requests[i].line);
    if (requests.size() > 8)
        finding.evidence.push_back("and " + std::to_string(requests.size() - 8) + " more requests");
    return {finding.oracle, finding.title, finding.signature, finding.evidence};
}

std::optional<Finding> judge_kworkers(std::uint64_t silence_ns) {
    if (silence_ns <= kworkers_ns)
        return std::nullopt;
    return Finding{"hang",
                   "no work item runs on a CPU any more",
                   "hang/kworkers",
                   {"cancelled polls of the supervisor's own do not end"}};
}

std::optional<Finding> judge_unread_books(bool blocked) {
    if (!blocked)
        return std::nullopt;
    return Finding{"hang", "the driver's books do not answer", "hang/books-blocked", {}};
}

} // namespace at
