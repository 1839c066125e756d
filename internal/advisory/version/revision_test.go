package version_test

import (
	"encoding/hex"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/advisory/version"
)

// TestRevision fails when keys are made otherwise than before: raise Revision,
// and write the new keys here. Indexes keep keys, and know by which revision.
func TestRevision(t *testing.T) {
	for _, tt := range []struct {
		order        version.Order
		version, key string
	}{
		{version.SemVer, "1.2.10-rc.1+b", "010201310201320202313001010372630002013101"},
		{version.NuGet, "1.2.10-RC.1", "010201310201320202313001010372630002013101"},
		{version.Pub, "1.2.10+b.2", "010201310201320202313001ff010203620002013201"},
		{version.PEP440, "1!2.0rc1.post2.dev3+l.4", "010131020132010203013102013202013302026c0003013401"},
		{version.Maven, "2.0.0-alpha-1.x", "010a01320109013108780006"},
		{version.RubyGems, "1.2.0.pre3", "01050131050132017072650005013303"},
		{version.Composer, "v1.2.0-beta3", "01020131020132010407013306"},
		{version.Numbers, "1.2-3", "0102013102013202013301"},
		{version.Debian, "2:1.2~rc1-3+deb12u1", "010132020131ae02013201726302013102020133ab646562020231327502013102"},
		{version.APK, "1.2.05b_rc1_p2-r3", "01013108013208003035000762010305013106080501320301330200"},
		{version.RPM, "2:1.2~rc1^git-3.el9", "01013205013105013201047263000501310304676974000205013304656c0005013902"},
	} {
		key, _ := tt.order.Key(tt.version)
		if got := hex.EncodeToString(key); got != tt.key {
			t.Errorf("{version.Order(%d), %q, %q},", tt.order, tt.version, got)
		}
	}
	if version.Revision != 1 {
		t.Error("the keys above are of revision 1")
	}
}
