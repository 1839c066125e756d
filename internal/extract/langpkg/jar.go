package langpkg

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract/parse"
)

// jar is what the files of one archive say about it.
type jar struct {
	name     string   // of its file
	inside   []string // the archives that it is in, with itself
	poms     []mavenArtifact
	manifest parse.Stanza
}

// mavenArtifact is a package of Maven.
type mavenArtifact struct{ group, artifact, version string }

const maxPom = 64 << 10

// readPom reads a pom.properties: lines "key=value".
func (j *jar) readPom(r io.Reader) error {
	var is mavenArtifact
	lines := bufio.NewScanner(io.LimitReader(r, maxPom))
	for lines.Scan() {
		key, value, ok := strings.Cut(lines.Text(), "=")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "groupId":
			is.group = value
		case "artifactId":
			is.artifact = value
		case "version":
			is.version = value
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read pom.properties: %w", err)
	}
	// One that lacks a part, or has ${revision} left in it, says nothing: the
	// name of the file may say more.
	if is.group == "" || is.artifact == "" || is.version == "" || strings.ContainsRune(is.group+is.artifact+is.version, '$') {
		return nil
	}
	j.poms = append(j.poms, is)
	return nil
}

// readManifest reads the main section of the manifest.
func (j *jar) readManifest(r io.Reader) error {
	fields := parse.NewStanzas(r,
		"Implementation-Title", "Implementation-Version", "Implementation-Vendor-Id",
		"Bundle-SymbolicName", "Bundle-Version", "Specification-Version", "Automatic-Module-Name")
	fields.Join = "" // a line has at most 72 bytes
	main, err := fields.Next()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the manifest: %w", err)
	}
	j.manifest = main
	return nil
}

// add puts what the archive is on the list. What it is by its name counts only
// if the whole of it was read.
func (j *jar) add(list *parse.List, whole bool) {
	found := j.poms
	if len(found) == 0 && whole {
		if guess, ok := j.guess(); ok {
			found = []mavenArtifact{guess}
		}
	}
	if own, ok := j.known(); ok && whole {
		found = append(found, own)
	}
	for _, is := range found {
		list.Add(tidewaiter.Package{
			Ecosystem: "Maven",
			Type:      "maven",
			Namespace: is.group,
			Name:      is.group + ":" + is.artifact,
			Version:   is.version,
			Inside:    j.inside,
		})
	}
}

// known says what an archive is that holds pom.properties of others only: of what
// was shaded into it. Nothing but a name that many use is taken for its own.
func (j *jar) known() (mavenArtifact, bool) {
	artifact, version := fileArtifact(path.Base(j.name))
	group := knownGroup(artifact)
	if len(j.poms) == 0 || version == "" || group == "" {
		return mavenArtifact{}, false
	}
	for _, is := range j.poms {
		if is.artifact == artifact || is.group == group {
			return mavenArtifact{}, false
		}
	}
	return mavenArtifact{group: group, artifact: artifact, version: version}, true
}

// guess says what an archive without pom.properties is: artifact and version
// by the name of the file, the version else by the manifest, and the group by
// the manifest or by the artifact.
func (j *jar) guess() (mavenArtifact, bool) {
	artifact, version := fileArtifact(path.Base(j.name))
	named := version != ""
	group := j.group(artifact)
	if !named {
		for _, field := range []string{"Implementation-Version", "Bundle-Version", "Specification-Version"} {
			// "1.4 1855 April 22 2006"
			if words := strings.Fields(j.manifest.Get(field)); len(words) > 0 && !strings.ContainsRune(words[0], '$') {
				version = words[0]
				break
			}
		}
	}
	switch {
	case artifact == "" || version == "":
		return mavenArtifact{}, false
	case group == "" && !named:
		return mavenArtifact{}, false // neither the file nor the manifest names an artifact of Maven
	case group == "":
		group = artifact // as the oldest artifacts have it: junit:junit
	}
	return mavenArtifact{group: group, artifact: artifact, version: version}, true
}

// fileArtifact takes the name of a file apart: guava-31.1-jre.jar,
// akka-actor_2.13-2.6.20.jar, or, as old OSGi has it, org.junit_4.13.2.jar.
func fileArtifact(file string) (artifact, version string) {
	base := strings.TrimSuffix(file, path.Ext(file))
	for _, form := range []string{`^(.+?)-v?(\d.*)$`, `^(.+?)_v?(\d.*)$`} {
		if parts := regexp.MustCompile(form).FindStringSubmatch(base); parts != nil {
			return parts[1], parts[2]
		}
	}
	return base, ""
}

// group returns the group of an artifact: by the table of those that are built
// without Maven, by the manifest, by the artifact, or "".
func (j *jar) group(artifact string) string {
	if group := knownGroup(artifact); group != "" {
		return group
	}
	if id := j.manifest.Get("Implementation-Vendor-Id"); groupName.MatchString(id) {
		return id
	}
	if group := before(artifact, "."); groupName.MatchString(group) {
		return group
	}
	// The name of an OSGi bundle is mostly the group and the artifact:
	// com.fasterxml.jackson.core.jackson-databind.
	var other string
	for _, field := range []string{"Bundle-SymbolicName", "Automatic-Module-Name"} {
		name, _, _ := strings.Cut(j.manifest.Get(field), ";")
		name = strings.TrimSpace(name)
		for _, suffix := range []string{artifact, strings.ReplaceAll(artifact, "-", ".")} {
			if group, ok := strings.CutSuffix(name, "."+suffix); ok && groupName.MatchString(group) {
				return group
			}
		}
		if other == "" && groupName.MatchString(name) {
			other = name
		}
	}
	return other
}

// knownGroup returns the group of an artifact by the table, or "".
func knownGroup(artifact string) string {
	for _, known := range knownGroups {
		if artifact == known.artifact || strings.HasSuffix(known.artifact, "-") && strings.HasPrefix(artifact, known.artifact) {
			return known.group
		}
	}
	return ""
}

// groupName is the form of a group, which is mostly that of a reversed domain.
var groupName = regexp.MustCompile(`^[A-Za-z][\w-]*(\.[\w-]+)+$`)

// knownGroups are artifacts that many use, that are built without Maven, and
// whose manifest does not name the group. The first that fits counts; what ends
// in a dash begins a name.
var knownGroups = []struct{ artifact, group string }{
	{"spring-boot-", "org.springframework.boot"},
	{"spring-boot", "org.springframework.boot"},
	{"spring-security-", "org.springframework.security"},
	{"spring-session-", "org.springframework.session"},
	{"spring-cloud-", "org.springframework.cloud"},
	{"spring-data-", "org.springframework.data"},
	{"spring-batch-", "org.springframework.batch"},
	{"spring-kafka", "org.springframework.kafka"},
	{"spring-rabbit", "org.springframework.amqp"},
	{"spring-amqp", "org.springframework.amqp"},
	{"spring-retry", "org.springframework.retry"},
	{"spring-core", "org.springframework"},
	{"spring-beans", "org.springframework"},
	{"spring-context", "org.springframework"},
	{"spring-context-", "org.springframework"},
	{"spring-expression", "org.springframework"},
	{"spring-aop", "org.springframework"},
	{"spring-aspects", "org.springframework"},
	{"spring-web", "org.springframework"},
	{"spring-webmvc", "org.springframework"},
	{"spring-webflux", "org.springframework"},
	{"spring-websocket", "org.springframework"},
	{"spring-messaging", "org.springframework"},
	{"spring-jdbc", "org.springframework"},
	{"spring-jms", "org.springframework"},
	{"spring-jcl", "org.springframework"},
	{"spring-orm", "org.springframework"},
	{"spring-oxm", "org.springframework"},
	{"spring-tx", "org.springframework"},
	{"spring-test", "org.springframework"},
	{"kotlin-stdlib", "org.jetbrains.kotlin"},
	{"kotlin-", "org.jetbrains.kotlin"},
	{"kotlinx-", "org.jetbrains.kotlinx"},
	{"okhttp", "com.squareup.okhttp3"},
	{"okhttp-", "com.squareup.okhttp3"},
	{"okio", "com.squareup.okio"},
	{"okio-", "com.squareup.okio"},
	{"retrofit", "com.squareup.retrofit2"},
	{"tomcat-embed-", "org.apache.tomcat.embed"},
	{"tomcat-", "org.apache.tomcat"},
	{"catalina", "org.apache.tomcat"},
	{"grpc-", "io.grpc"},
	{"micrometer-", "io.micrometer"},
	{"reactor-core", "io.projectreactor"},
	{"reactor-netty", "io.projectreactor.netty"},
	{"reactor-netty-", "io.projectreactor.netty"},
	{"groovy", "org.codehaus.groovy"},
	{"kafka-clients", "org.apache.kafka"},
	{"scala-library", "org.scala-lang"},
	{"elasticsearch", "org.elasticsearch"},
	{"lucene-", "org.apache.lucene"},
	{"bcprov-", "org.bouncycastle"},
	{"bcpkix-", "org.bouncycastle"},
	{"postgresql", "org.postgresql"},
	{"rhino", "org.mozilla"},
	{"hibernate-validator", "org.hibernate.validator"},
	{"asm", "org.ow2.asm"},
	{"asm-", "org.ow2.asm"},
	{"protobuf-", "com.google.protobuf"},
	{"guice", "com.google.inject"},
	{"guice-", "com.google.inject.extensions"},
	{"jsr305", "com.google.code.findbugs"},
	{"kryo", "com.esotericsoftware"},
	{"mongodb-driver", "org.mongodb"},
	{"mongodb-driver-", "org.mongodb"},
	{"hsqldb", "org.hsqldb"},
	{"h2", "com.h2database"},
	{"xercesImpl", "xerces"},
	{"xml-apis", "xml-apis"},
	{"xml-apis-ext", "xml-apis"},
	{"xml-resolver", "xml-resolver"},
	{"commons-beanutils", "commons-beanutils"},
	{"commons-cli", "commons-cli"},
	{"commons-codec", "commons-codec"},
	{"commons-collections", "commons-collections"},
	{"commons-configuration", "commons-configuration"},
	{"commons-dbcp", "commons-dbcp"},
	{"commons-digester", "commons-digester"},
	{"commons-fileupload", "commons-fileupload"},
	{"commons-httpclient", "commons-httpclient"},
	{"commons-io", "commons-io"},
	{"commons-lang", "commons-lang"},
	{"commons-logging", "commons-logging"},
	{"commons-logging-", "commons-logging"},
	{"commons-net", "commons-net"},
	{"commons-pool", "commons-pool"},
	{"commons-validator", "commons-validator"},
	{"commons-", "org.apache.commons"},
}
