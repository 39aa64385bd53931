// The application against fake-shimmy, which is on the PATH or named by FAKE_SHIMMY; and against a
// real shimmy where SHIMMY and SHIMMY_MODEL name an executable and a model file.
package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type object = map[string]any

func fakeShimmy(t *testing.T) string {
	t.Helper()
	if named := os.Getenv("FAKE_SHIMMY"); named != "" {
		return named
	}
	found, err := exec.LookPath("fake-shimmy")
	if err != nil {
		t.Skip("there is no fake-shimmy on the PATH, and FAKE_SHIMMY names none")
	}
	return found
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func start(t *testing.T, executable, model, modelPath string) (*Sidecar, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	sidecar, err := Start(ctx, executable, freePort(t), model, modelPath)
	if err == nil {
		t.Cleanup(sidecar.Stop)
	}
	return sidecar, err
}

func onFake(t *testing.T, script object) *Sidecar {
	t.Helper()
	t.Setenv("FAKE_SHIMMY_MODELS", "phi-3")
	t.Setenv("FAKE_SHIMMY_CONTROL", "t")
	sidecar, err := start(t, fakeShimmy(t), "phi-3", "")
	if err != nil {
		t.Fatal(err)
	}
	tell(t, sidecar, object{"op": "open", "session": "", "script": script})
	return sidecar
}

// tell says something over the control route.
func tell(t *testing.T, sidecar *Sidecar, message object) object {
	t.Helper()
	body, _ := json.Marshal(message)
	request, _ := http.NewRequest(
		http.MethodPost, sidecar.URL+"/fake-shimmy/control", bytes.NewReader(body))
	request.Header.Set("x-fake-shimmy-control", "t")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var said object
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil || answer.StatusCode != 200 {
		t.Fatal(answer.Status, said, err)
	}
	return said
}

func ask(sidecar *Sidecar) (string, error) {
	var text strings.Builder
	err := sidecar.Ask(context.Background(), "Capital of France?", func(s string) { text.WriteString(s) })
	return text.String(), err
}

func rule(members object) object { return object{"rules": []object{members}} }

func TestAQuestionIsAnswered(t *testing.T) {
	sidecar := onFake(t, rule(object{"when": object{"user": "France"}, "reply": "Paris."}))
	if text, err := ask(sidecar); text != "Paris." || err != nil {
		t.Fatal(text, err)
	}
	records := tell(t, sidecar, object{"op": "journal", "session": ""})["records"].([]any)
	if body := records[0].(object)["body"].(string); !strings.Contains(body, `"stream":true`) {
		t.Fatal(body)
	}
}

func TestAnAnswerThatIsNotWholeIsAnError(t *testing.T) {
	for name, fault := range map[string]object{
		"reset":       {"do": "reset", "at": object{"tokens": 1}},
		"ended":       {"do": "end", "at": object{"tokens": 1}},
		"no end mark": {"do": "garble", "how": "missing_done"},
		"half JSON":   {"do": "garble", "how": "truncated_json"},
	} {
		t.Run(name, func(t *testing.T) {
			sidecar := onFake(t, rule(object{"reply": []string{"Par", "is"}, "faults": []object{fault}}))
			if text, err := ask(sidecar); !errors.Is(err, ErrCut) {
				t.Fatal(text, err)
			}
		})
	}
}

func TestAFailedStartIsTold(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script.json")
	if err := os.WriteFile(script, []byte(`{"life": {"refuse": {"status": 7}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FAKE_SHIMMY_SCRIPT", script)
	t.Setenv("FAKE_SHIMMY_MODELS", "phi-3")
	if _, err := start(t, fakeShimmy(t), "phi-3", ""); err == nil || !strings.Contains(err.Error(), "status 7") {
		t.Fatal(err)
	}
}

func TestARealShimmyAnswers(t *testing.T) {
	executable, file := os.Getenv("SHIMMY"), os.Getenv("SHIMMY_MODEL")
	if executable == "" || file == "" {
		t.Skip("SHIMMY and SHIMMY_MODEL name no real one")
	}
	model := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	sidecar, err := start(t, executable, model, file)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := ask(sidecar); text == "" || err != nil {
		t.Fatal(text, err)
	}
}
