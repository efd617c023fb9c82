#include "lib/modules.h"

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <sstream>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "lib/bounded.h"
#include "lib/starving.h"
#include "lib/system.h"

namespace at {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds load_bound{15000};
constexpr milliseconds unload_bound{10000};
// `calls` and `enable` wait for grace periods and patch the kernel's text, which takes a second on
// a debug kernel of a busy host.
constexpr milliseconds file_bound{10000};
constexpr char injector[] = "/sys/kernel/debug/fail_injector/";

std::vector<std::string>& loaded() {
    static std::vector<std::string> names;
    return names;
}

// What is to be written into files, the injector's or of a whole path, in this order and by one
// child: under emulation a fork takes milliseconds, and a plan is a hundred files.
class Settings {
public:
    void set(const std::string& file, const std::string& value) {
        all_.emplace_back(file[0] == '/' ? file : injector + file, value);
    }

    void set_rule(const std::string& rule, const Fault& fault) {
        set(rule + "phase", fault.phase);
        set(rule + "action", fault.action);
        const auto nth = fault.key("nth");
        const double probability = fault.key("p") ? parse_real(*fault.key("p")) : 1.0;
        set(rule + "probability", std::to_string(std::lround(std::floor(probability * 100))));
        set(rule + "probability_ppm", std::to_string(std::lround(probability * 1e6)));
        if (nth)
            set(rule + "nth", *nth);
        set(rule + "times", fault.key("times").value_or("-1"));
        if (const auto cookie = fault.key("cookie"))
            set(rule + "cookie", *cookie);
        if (const auto delay = fault.key("delay"))
            set(rule + "delay_ns", std::to_string(parse_duration_ns(*delay)));
        if (const auto cpu = fault.key("cpu"))
            set(rule + "cpu", *cpu);
        if (const auto error = fault.key("err"))
            set(rule + "err", *error);
    }

    void write() {
        const auto answer = bounded_call(file_bound, [&](std::string& refused) {
            for (const auto& [file, value] : all_) {
                refused = file;
                if (!write_file(file, value + "\n"))
                    return -errno;
            }
            return 0;
        });
        if (!answer.in_time)
            throw std::runtime_error("fail_injector does not answer");
        if (answer.status < 0)
            throw std::runtime_error(answer.text +
                                     " refused its value: " + std::strerror(-answer.status));
        all_.clear();
    }

private:
    std::vector<std::pair<std::string, std::string>> all_;
};

} // namespace

namespace {

bool is_loaded(const std::string& name) {
    struct stat status {};
    return stat(("/sys/module/" + name).c_str(), &status) == 0;
}

int finit_module(const std::string& path, const std::string& parameters) {
    const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file)
        return -errno;
    return syscall(SYS_finit_module, file.get(), parameters.c_str(), 0) ? -errno : 0;
}

void insert_module(const std::string& name, const std::string& path,
                   const std::string& parameters) {
    const auto answer =
        bounded_call(load_bound, [&](std::string&) { return finit_module(path, parameters); });
    if (!answer.in_time)
        throw std::runtime_error("module " + name + ": not loaded within 15 s");
    if (answer.status)
        throw std::runtime_error("module " + name + " (" + path + " " + parameters +
                                 "): " + std::strerror(-answer.status));
}

} // namespace

void load_module(const std::string& name, const std::string& path, const std::string& parameters) {
    if (is_loaded(name))
        throw std::runtime_error("module " + name + " is loaded already");
    insert_module(name, path, parameters);
    loaded().push_back(name);
}

void keep_module(const std::string& name, const std::string& path, const std::string& parameters) {
    if (!is_loaded(name))
        insert_module(name, path, parameters);
}

bool load_without_memory(const std::string& name, const std::string& path,
                         const std::string& parameters, std::uint32_t nth) {
    const auto answer = bounded_call(load_bound, [&](std::string&) {
        const Starving starving(nth);
        if (!starving)
            return 0;
        const bool loaded = finit_module(path, parameters) == 0;
        const bool failed = starving.over();
        if (loaded)
            syscall(SYS_delete_module, name.c_str(), O_NONBLOCK);
        return failed ? 1 : 0;
    });
    if (!answer.in_time)
        throw std::runtime_error("module " + name + ": not loaded within 15 s");
    return answer.status == 1;
}

bool load_is_refused(const std::string& name, const std::string& path,
                     const std::string& parameters) {
    const auto answer = bounded_call(load_bound, [&](std::string&) {
        const bool loaded = finit_module(path, parameters) == 0;
        if (loaded)
            syscall(SYS_delete_module, name.c_str(), O_NONBLOCK);
        return loaded ? 0 : 1;
    });
    if (!answer.in_time)
        throw std::runtime_error("module " + name + ": not loaded within 15 s");
    return answer.status == 1;
}

bool modules_loaded() {
    return !loaded().empty();
}

const std::string& last_module_loaded() {
    return loaded().back();
}

bool unload_last_module(std::string& name, std::string& why) {
    name = loaded().back();
    // A file's last reference may be dropped from a task's or a kthread's later work (fput), so
    // a module may stay in use for a little while; the exit function itself may wait for ever.
    const auto answer = bounded_call(unload_bound, [&](std::string&) {
        for (int i = 0; i < 300; ++i) {
            if (syscall(SYS_delete_module, name.c_str(), O_NONBLOCK) == 0)
                return 0;
            if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EBUSY)
                break;
            usleep(10000);
        }
        return -errno;
    });
    if (answer.in_time && answer.status == 0) {
        loaded().pop_back();
        return true;
    }
    why = answer.in_time ? std::strerror(-answer.status) : "its exit did not return";
    if (const auto references = read_file("/sys/module/" + name + "/refcnt"))
        why += ", refcnt " + references->substr(0, references->find('\n'));
    return false;
}

bool wait_for_node(const std::string& path) {
    for (int i = 0; i < 500; ++i) {
        if (access(path.c_str(), R_OK | W_OK) == 0)
            return true;
        usleep(4000);
    }
    return false;
}

namespace {

// What could not be placed.
std::vector<std::string> unplaced() {
    const auto answer = bounded_call(file_bound, [&](std::string& text) {
        for (const char* file : {"calls", "probes"})
            text += read_file(std::string(injector) + file).value_or("");
        return 0;
    });
    std::vector<std::string> refused;
    std::istringstream lines(answer.text);
    for (std::string line; std::getline(lines, line);)
        if (line.find(" error=") != std::string::npos)
            refused.push_back(line);
    return refused;
}

} // namespace

std::vector<std::string> arm_faults(const Plan& plan, bool windows, bool probes) {
    if (plan.faults.size() > 16)
        throw PlanError("a plan has at most 16 faults, the injector's rules");
    Settings settings;
    settings.set("enable", "0");
    // All but the probes, which a guest that serves many cells is asked for in each.
    settings.set("clear", "2");
    settings.set("seed", std::to_string(plan.seed));
    for (std::size_t i = 0; i < plan.faults.size(); ++i)
        settings.set_rule("rule" + std::to_string(i) + "/", plan.faults[i]);
    settings.set("calls", windows ? "io_submit io_cancel io_destroy io_getevents" : " ");
    // What a driver and fs/aio.c do to each other's requests, in their smallest steps.
    settings.set("probes", windows && probes ? "kiocb_set_cancel_fn" : " ");
    settings.set("enable", "1");
    settings.write();
    return windows ? unplaced() : std::vector<std::string>{};
}

void disarm_faults() {
    bounded_write(std::string(injector) + "enable", "0\n", file_bound);
    bounded_write(std::string(injector) + "sites", "\n", file_bound);
}

void place_sites(const std::vector<std::string>& sites, double share, double long_share,
                 const Steals& steals) {
    std::ostringstream stealing;
    if (steals.period_ns)
        stealing << std::hex << steals.from << std::dec << ' ' << steals.bytes << ' '
                 << steals.period_ns;
    std::string names;
    for (const std::string& site : sites)
        names += site + " ";
    Settings settings;
    settings.set("site_ppm", std::to_string(std::lround(share * 1e6)));
    settings.set("site_long_ppm", std::to_string(std::lround(long_share * 1e6)));
    settings.set("sites", names);
    settings.set("steals", stealing.str());
    settings.write();
}

std::string read_steals() {
    return bounded_read(std::string(injector) + "steals", file_bound).text;
}

bool optimise_probes(bool optimise) {
    constexpr char optimises[] = "/proc/sys/debug/kprobes-optimization";
    const bool before = read_file(optimises).value_or("").starts_with('1');
    if (before != optimise)
        bounded_write(optimises, optimise ? "1\n" : "0\n", file_bound);
    return before;
}

std::string choose_preemption(const std::string& mode) {
    constexpr char modes[] = "/sys/kernel/debug/sched/preempt";
    const std::string offered = read_file(modes).value_or("");
    const std::size_t begin = offered.find('(');
    const std::size_t end = offered.find(')');
    if (begin == std::string::npos || end == std::string::npos ||
        offered.find(mode) == std::string::npos)
        return "";
    const std::string before = offered.substr(begin + 1, end - begin - 1);
    if (before != mode && bounded_write(modes, mode + "\n", file_bound).status < 0)
        return "";
    return before;
}

namespace {
constexpr char expedited[] = "/sys/kernel/rcu_expedited";
}

HastyGracePeriods::HastyGracePeriods() : before_(read_file(expedited).value_or("")) {
    if (!before_.empty() && !write_file(expedited, "1\n"))
        before_.clear();
}

HastyGracePeriods::~HastyGracePeriods() {
    if (!before_.empty())
        write_file(expedited, before_);
}

std::string read_sites() {
    return bounded_read(std::string(injector) + "sites", file_bound).text;
}

nlohmann::json fault_counters(const Plan& plan, std::uint64_t& fired) {
    nlohmann::json faults = nlohmann::json::array();
    if (plan.faults.empty())
        return faults;
    const auto answer = bounded_read(std::string(injector) + "counters", file_bound);
    std::istringstream lines(answer.text);
    for (std::string line; std::getline(lines, line);) {
        unsigned rule = 0;
        char phase[32];
        char action[32];
        unsigned long long tried = 0;
        unsigned long long count = 0;
        if (std::sscanf(line.c_str(), "rule=%u phase=%31s action=%31s tried=%llu fired=%llu", &rule,
                        phase, action, &tried, &count) != 5)
            continue;
        faults.push_back({{"rule", rule},
                          {"phase", phase},
                          {"action", action},
                          {"tried", tried},
                          {"fired", count}});
        fired += count;
    }
    return faults;
}

LossLog fault_losses() {
    const auto answer = bounded_read(std::string(injector) + "losses", file_bound);
    LossLog log = parse_losses(answer.text);
    log.read = answer.in_time && answer.status >= 0;
    return log;
}

} // namespace at
