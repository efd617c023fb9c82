// aiotorture-agent: serves runs to the orchestrator over a byte stream (docs/interfaces.md
// section 4).  One thread; every wait is bounded; a run's stressor is a child process.

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>

#include <fcntl.h>
#include <linux/random.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <elf.h>
#include <link.h>

#include <nlohmann/json.hpp>

#include "lib/bounded.h"
#include "lib/plan.h"
#include "lib/port.h"
#include "lib/scenario.h"
#include "lib/supervisor.h"
#include "lib/system.h"

namespace {

using nlohmann::json;
using std::chrono::milliseconds;

constexpr std::size_t chunk_bytes = 512 << 10; // base64 of it fits a line of 1 MiB
constexpr milliseconds pull_bound{5000};

// The linker's build id, which names this binary in tokens and in perf's files.
std::string build_id() {
    std::string text;
    auto note = [](dl_phdr_info* object, std::size_t, void* out) {
        for (int i = 0; i < object->dlpi_phnum; ++i) {
            const ElfW(Phdr)& header = object->dlpi_phdr[i];
            if (header.p_type != PT_NOTE)
                continue;
            const char* at = reinterpret_cast<const char*>(object->dlpi_addr + header.p_vaddr);
            const char* end = at + header.p_memsz;
            while (at + sizeof(ElfW(Nhdr)) <= end) {
                ElfW(Nhdr) entry;
                std::memcpy(&entry, at, sizeof entry);
                const char* name = at + sizeof entry;
                const char* bytes = name + (entry.n_namesz + 3) / 4 * 4;
                if (entry.n_type == NT_GNU_BUILD_ID && !std::strcmp(name, "GNU")) {
                    char hex[3];
                    for (unsigned j = 0; j < entry.n_descsz; ++j) {
                        std::snprintf(hex, sizeof hex, "%02x",
                                      static_cast<unsigned char>(bytes[j]));
                        *static_cast<std::string*>(out) += hex;
                    }
                    return 1;
                }
                at = bytes + (entry.n_descsz + 3) / 4 * 4;
            }
        }
        return 1; // the executable comes first; its libraries are not asked
    };
    dl_iterate_phdr(note, &text);
    return text;
}

json hello() {
    utsname name{};
    uname(&name);
    std::uint64_t mem_kb = 0;
    if (const auto meminfo = at::read_file("/proc/meminfo"))
        std::sscanf(meminfo->c_str(), "MemTotal: %lu", &mem_kb);
    timespec boot{};
    clock_gettime(CLOCK_BOOTTIME, &boot);
    return {{"proto", 1},
            {"kernel", name.release},
            {"cpus", at::online_cpus()},
            {"mem_kb", mem_kb},
            {"boot_us", static_cast<std::uint64_t>(boot.tv_sec) * 1000000 +
                            static_cast<std::uint64_t>(boot.tv_nsec) / 1000},
            {"agent", build_id()}};
}

// Guests restored from one snapshot are alike in every bit; the seed makes their pools differ.
json mix(const json& request) {
    const std::uint64_t seed = request.at("seed").get<std::uint64_t>();
    at::Fd pool(open("/dev/urandom", O_WRONLY | O_CLOEXEC));
    if (!pool || write(pool.get(), &seed, sizeof seed) != sizeof seed)
        at::throw_errno("write to /dev/urandom");
    const bool reseeded = ioctl(pool.get(), RNDRESEEDCRNG) == 0; // root alone may
    return {{"reseeded", reseeded}};
}

json push(const json& request) {
    const std::string path = request.at("path");
    const auto bytes = at::base64_decode(request.at("b64").get<std::string>());
    if (!bytes)
        throw std::runtime_error("push: not base64");
    const mode_t mode = request.value("mode", 0644);
    const bool append = request.value("append", false);
    // A new file in place of the old one: a binary that is running cannot be written to.
    if (!append)
        unlink(path.c_str());
    at::Fd fd(
        open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC), mode));
    if (!fd)
        at::throw_errno("open " + path);
    std::size_t written = 0;
    while (written < bytes->size()) {
        const ssize_t put = write(fd.get(), bytes->data() + written, bytes->size() - written);
        if (put < 0)
            at::throw_errno("write " + path);
        written += static_cast<std::size_t>(put);
    }
    fchmod(fd.get(), mode);
    return {{"size", written}};
}

json pull(const json& request) {
    const std::string path = request.at("path");
    const std::size_t max_bytes =
        std::min<std::size_t>(request.value("max_bytes", chunk_bytes), chunk_bytes);
    const std::size_t offset = request.value("offset", std::size_t{0});
    const auto answer = at::bounded_call(pull_bound, [&](std::string& text) {
        at::Fd fd(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
        if (!fd || (offset && lseek(fd.get(), static_cast<off_t>(offset), SEEK_SET) < 0))
            return -errno;
        text.resize(max_bytes);
        std::size_t filled = 0;
        while (filled < max_bytes) {
            const ssize_t got = read(fd.get(), text.data() + filled, max_bytes - filled);
            if (got < 0 && errno == EINTR)
                continue;
            if (got < 0 && !filled)
                return -errno;
            if (got <= 0)
                break;
            filled += static_cast<std::size_t>(got);
        }
        text.resize(filled);
        return 0;
    });
    if (!answer.in_time)
        throw std::runtime_error("pull " + path + ": not readable within 5 s");
    if (answer.status < 0)
        throw std::runtime_error("pull " + path + ": " + std::strerror(-answer.status));
    return {{"b64", at::base64_encode(answer.text)}, {"size", answer.text.size()}};
}

json exec(const json& request) {
    std::vector<std::string> argv = request.at("argv");
    if (argv.empty())
        throw std::runtime_error("exec: argv is empty");
    std::vector<std::string> environment;
    if (const auto env = request.find("env"); env != request.end() && env->is_object()) {
        for (const auto& [name, value] : env->items())
            environment.push_back(name + "=" + value.get<std::string>());
    } else if (env != request.end() && env->is_array()) {
        environment = env->get<std::vector<std::string>>();
    }
    const auto answer =
        at::bounded_exec(argv, environment, milliseconds(request.value("timeout_ms", 10000)),
                         std::size_t{300} << 10);
    return {{"rc", answer.status},
            {"out", answer.out},
            {"err", answer.err},
            {"timed_out", answer.timed_out}};
}

class Agent {
public:
    explicit Agent(at::Port port) : port_(std::move(port)) {}

    int serve() {
        at::count_memory();
        while (!leaving_ && !port_.closed())
            attend(milliseconds(1000));
        at::unload_all_modules();
        return 0;
    }

private:
    void attend(milliseconds bound) {
        const auto line = port_.receive(bound);
        if (!line)
            return;
        json answer;
        json id = nullptr;
        try {
            const json request = json::parse(*line);
            id = request.value("id", json(nullptr));
            answer = dispatch(request);
            answer["ok"] = true;
        } catch (const std::exception& error) {
            answer = {{"ok", false}, {"error", error.what()}};
        }
        answer["id"] = id;
        port_.send(answer);
    }

    json dispatch(const json& request) {
        const std::string op = request.at("op");
        if (op == "hello")
            return hello();
        if (op == "describe")
            return at::describe_all();
        if (op == "mix")
            return mix(request);
        if (op == "push")
            return push(request);
        if (op == "pull")
            return pull(request);
        if (op == "exec")
            return exec(request);
        if (op == "run")
            return run(request);
        if (op == "probe") {
            at::probe(run_request(request));
            return json::object();
        }
        if (op == "kill" || op == "bye") {
            told_to_end_ = true;
            leaving_ = leaving_ || op == "bye";
            return {{"running", running_}};
        }
        throw std::runtime_error("no op is called '" + op + "'");
    }

    // All of a run but its plan.
    static at::RunRequest run_request(const json& request) {
        at::RunRequest run;
        for (const json& module : request.value("modules", json::array()))
            run.modules.push_back({module.at("name"), module.at("path"),
                                   module.value("parameters", ""), module.value("keep", false)});
        run.set_up = request.value("set_up", run.set_up);
        run.tear_down = request.value("tear_down", run.tear_down);
        run.deadline = milliseconds(request.value("deadline_ms", 60000));
        run.device = request.value("device", run.device);
        run.shared = request.value("shared", false);
        run.end_at_finding = request.value("end_at_finding", false);
        run.mute = request.value("mute", run.mute);
        run.sites = request.value("sites", run.sites);
        run.marked = request.value("marked", run.marked);
        return run;
    }

    json run(const json& request) {
        if (running_)
            throw std::runtime_error("a run is under way");
        at::RunRequest run = run_request(request);
        run.plan = at::parse_plan(request.at("plan").get<std::string>());
        const json cell = request.value("cell", json(nullptr));
        at::RunHooks hooks;
        hooks.emit = [&](const json& event) {
            json line = event;
            if (!cell.is_null())
                line["cell"] = cell;
            if (event.value("ev", "") == "progress")
                port_.send_if_room(line);
            else
                port_.send(line);
        };
        hooks.attend = [&](milliseconds bound) {
            attend(bound);
            return told_to_end_ || port_.closed();
        };
        told_to_end_ = false;
        running_ = true;
        struct Clear {
            bool& flag;
            ~Clear() { flag = false; }
        } clear{running_};
        json result = at::supervise(run, hooks);
        if (!cell.is_null())
            result["cell"] = cell;
        return {{"result", result}};
    }

    at::Port port_;
    bool running_ = false;
    bool told_to_end_ = false;
    bool leaving_ = false;
};

volatile std::sig_atomic_t interrupted = 0;

std::string read_plan(const std::string& path) {
    std::ostringstream text;
    if (path == "-") {
        text << std::cin.rdbuf();
        return text.str();
    }
    std::ifstream in(path);
    if (!in)
        at::throw_errno("open " + path);
    text << in.rdbuf();
    return text.str();
}

// A run by hand; prints what `serve` would send.
int run_by_hand(const std::vector<std::string>& arguments) {
    at::RunRequest run;
    bool planned = false;
    for (std::size_t i = 0; i + 1 < arguments.size(); i += 2) {
        const std::string& option = arguments[i];
        const std::string& value = arguments[i + 1];
        if (option == "--plan") {
            run.plan = at::parse_plan(read_plan(value));
            planned = true;
        } else if (option == "--text") {
            run.plan = at::parse_plan(value);
            planned = true;
        } else if (option == "--module") {
            const auto slash = value.rfind('/');
            std::string name = value.substr(slash == std::string::npos ? 0 : slash + 1);
            run.modules.push_back({name.substr(0, name.find('.')), value, "", false});
        } else if (option == "--deadline-ms") {
            run.deadline = milliseconds(at::parse_integer(value));
        } else if (option == "--device") {
            run.device = value;
        } else {
            throw at::PlanError("no option is called '" + option + "'");
        }
    }
    if (!planned || arguments.size() % 2)
        throw at::PlanError("usage: aiotorture-agent run (--plan FILE | --text PLAN) "
                            "[--module PATH]… [--deadline-ms N] [--device PATH]");
    struct sigaction action {};
    action.sa_handler = [](int) { interrupted = 1; };
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    at::RunHooks hooks;
    hooks.emit = [](const json& event) { std::cout << event.dump() << std::endl; };
    hooks.attend = [](milliseconds bound) {
        usleep(static_cast<useconds_t>(bound.count() * 1000));
        return interrupted != 0;
    };
    const json result = at::supervise(run, hooks);
    std::cout << json{{"result", result}}.dump() << std::endl;
    at::unload_all_modules();
    return result.at("findings").empty() ? 0 : 1;
}

constexpr char usage[] = "usage: aiotorture-agent serve [--port PATH]\n"
                         "       aiotorture-agent run (--plan FILE | --text PLAN) [--module PATH]… "
                         "[--deadline-ms N] [--device PATH]\n"
                         "       aiotorture-agent describe\n"
                         "       aiotorture-agent check-plan FILE\n";

int command(const std::vector<std::string>& arguments) {
    const std::string name = arguments.empty() ? "" : arguments[0];
    if (name == "serve" && arguments.size() == 1)
        return Agent(at::Port()).serve();
    if (name == "serve" && arguments.size() == 3 && arguments[1] == "--port")
        return Agent(at::Port(arguments[2])).serve();
    if (name == "run")
        return run_by_hand({arguments.begin() + 1, arguments.end()});
    if (name == "describe" && arguments.size() == 1) {
        std::cout << at::describe_all().dump(2) << "\n";
        return 0;
    }
    if (name == "leave") // what a stressor executes to end its life by execve(2)
        return 0;
    if (name == "check-plan" && arguments.size() == 2) {
        const at::Plan plan = at::parse_plan(read_plan(arguments[1]));
        at::bind(plan);
        std::cout << at::print_plan(plan);
        return 0;
    }
    std::cerr << usage;
    return 2;
}

} // namespace

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);
    try {
        return command({argv + 1, argv + argc});
    } catch (const at::PlanError& error) {
        std::cerr << "aiotorture-agent: " << error.what() << "\n";
        return 2;
    } catch (const std::exception& error) {
        std::cerr << "aiotorture-agent: " << error.what() << "\n";
        return 3;
    }
}
