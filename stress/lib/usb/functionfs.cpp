// FunctionFS (drivers/usb/gadget/function/f_fs.c): descriptors and strings are written to ep0,
// which makes the endpoints' files; the gadget around it is configfs's, and is bound by writing its
// UDC.

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <fcntl.h>
#include <linux/usb/functionfs.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/system.h"
#include "lib/usb/descriptors.h"

namespace at {

namespace {

constexpr char gadget_folder[] = "/sys/kernel/config/usb_gadget/aiotorture";

void add_interface(DescriptorBytes& bytes, std::uint32_t endpoints, std::uint16_t packet) {
    bytes.add(interface_descriptor(endpoints, 1));
    for (std::uint32_t i = 0; i < endpoints; ++i)
        bytes.add(endpoint_descriptor(endpoint_address(i), packet));
}

// struct usb_functionfs_descs_head_v2, the eventfd and the counts that its flags announce, then the
// descriptors.  The driver tells the eventfd of each request that has none of its own, after the
// request was completed (f_fs.c, ffs_user_copy_worker()).
std::string descriptors(std::uint32_t endpoints, int told) {
    DescriptorBytes body;
    body.add(htole32(static_cast<std::uint32_t>(told)));
    body.add(htole32(1 + endpoints));
    body.add(htole32(1 + endpoints));
    add_interface(body, endpoints, 64);
    add_interface(body, endpoints, 512);
    usb_functionfs_descs_head_v2 head{};
    head.magic = htole32(FUNCTIONFS_DESCRIPTORS_MAGIC_V2);
    head.flags = htole32(FUNCTIONFS_HAS_FS_DESC | FUNCTIONFS_HAS_HS_DESC | FUNCTIONFS_EVENTFD);
    head.length = htole32(static_cast<std::uint32_t>(sizeof head + body.text().size()));
    DescriptorBytes all;
    all.add(head);
    return all.text() + body.text();
}

std::string strings() {
    DescriptorBytes body;
    body.add(htole16(0x0409));
    body.add(std::string("aiotorture"));
    usb_functionfs_strings_head head{};
    head.magic = htole32(FUNCTIONFS_STRINGS_MAGIC);
    head.length = htole32(static_cast<std::uint32_t>(sizeof head + body.text().size()));
    head.str_count = htole32(1);
    head.lang_count = htole32(1);
    DescriptorBytes all;
    all.add(head);
    return all.text() + body.text();
}

void put(int fd, const std::string& bytes, const char* what) {
    if (write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
        throw_errno(std::string("functionfs: ") + what);
}

class FunctionFs : public Gadget {
public:
    FunctionFs(const std::string& ep0_path, std::uint32_t endpoints)
        : Gadget(ep0_path, endpoints), told_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
        if (!told_)
            throw_errno("eventfd");
    }

    const char* driver() const override { return "functionfs"; }

    void open() override {
        ep0_ = Fd(::open(ep0_path_.c_str(), O_RDWR | O_CLOEXEC));
        if (!ep0_)
            throw_errno("open " + ep0_path_);
        put(ep0_.get(), descriptors(endpoints_, told_.get()), "descriptors");
        put(ep0_.get(), strings(), "strings");
        for (std::uint32_t i = 0; i < endpoints_; ++i) {
            const std::string path = folder_ + "/ep" + std::to_string(i + 1);
            // Not blocking: a request on an endpoint that is disabled answers at once, where
            // io_submit() would wait for the host (ffs_epfile_wait_ep()).
            const Fd opened(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
            if (!opened)
                throw_errno("open " + path);
            place(i, opened);
        }
    }

    void bind() override { set_udc(udc_name()); }

    void unbind() override { set_udc(""); }

    void close(bool ep0_first) override {
        if (ep0_first)
            ep0_ = Fd();
        bury_endpoints();
        ep0_ = Fd();
    }

private:
    static void set_udc(const std::string& name) {
        const std::string path = std::string(gadget_folder) + "/UDC";
        // Unbinding what is not bound is ENODEV: ep0's close may have done it already.
        if (!write_file(path, name + "\n") && !(name.empty() && errno == ENODEV))
            throw_errno("write '" + name + "' to " + path);
    }

    const Fd told_;
};

} // namespace

std::unique_ptr<Gadget> make_functionfs(const std::string& ep0_path, std::uint32_t endpoints) {
    return std::make_unique<FunctionFs>(ep0_path, endpoints);
}

} // namespace at
