SUMMARY = "The village end of Wadi: the gateway and the reference handheld"
DESCRIPTION = "Collects records from handhelds and syncs them with a hub over MQTT, offline first."
SECTION = "net"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://LICENSE;md5=3b83ef96387f14655fc854ddc3c6bd57"

# The workspace that holds this layer.
inherit cargo externalsrc systemd useradd
EXTERNALSRC = "${@os.path.abspath(os.path.join(d.getVar('THISDIR'), '../../../..'))}"

SRC_URI = "file://wadi-gateway.service file://wadi-gateway.tmpfiles file://70-wadi-gateway.rules"

# A start: crates.io is not reached through a list of crates yet, so the compile step fetches.
do_compile[network] = "1"
CARGO_DISABLE_BITBAKE_VENDORING = "1"
CARGO_BUILD_FLAGS += "--locked --package wadi-gateway"

USERADD_PACKAGES = "${PN}"
# As wadi-gateway.sysusers says for the Debian package.
GROUPADD_PARAM:${PN} = "--system --gid 942 wadi"
USERADD_PARAM:${PN} = "--system --uid 942 --gid wadi --home-dir ${localstatedir}/lib/wadi --groups dialout --shell /sbin/nologin wadi"

SYSTEMD_SERVICE:${PN} = "wadi-gateway.service"

do_install:append() {
    install -d ${D}${systemd_system_unitdir}
    install -m 0644 ${THISDIR}/files/wadi-gateway.service ${D}${systemd_system_unitdir}/
    install -D -m 0644 ${THISDIR}/files/wadi-gateway.tmpfiles ${D}${nonarch_libdir}/tmpfiles.d/wadi-gateway.conf
    install -D -m 0644 -t ${D}${nonarch_base_libdir}/udev/rules.d ${THISDIR}/files/70-wadi-gateway.rules
}

FILES:${PN} += "\
    ${systemd_system_unitdir}/wadi-gateway.service \
    ${nonarch_libdir}/tmpfiles.d/wadi-gateway.conf \
    ${nonarch_base_libdir}/udev/rules.d/70-wadi-gateway.rules \
"
