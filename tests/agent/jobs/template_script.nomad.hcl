# Its template is told of by a script, which runs in the task.
job "template_script" {
  type = "service"

  group "group" {
    restart {
      attempts = 0
      mode     = "fail"
    }
    reschedule {
      attempts  = 0
      unlimited = false
    }
    task "task" {
      driver = "trio"
      user   = "nobody"
      env {
        COLOUR = "green"
      }
      template {
        data        = "{{ with nomadVar \"nomad/jobs\" }}{{ .word }}{{ end }}"
        destination = "local/word"
        change_mode = "script"
        change_script {
          command       = "/bin/sh"
          args          = ["-c", "echo $(id -un) $COLOUR $(cat local/word) > local/told"]
          timeout       = "5s"
          fail_on_error = true
        }
      }
      config {
        command = "/bin/sh"
        args    = ["-c", "echo $$; exec sleep 600"]
      }
      resources {
        cpu    = 20
        memory = 64
      }
    }
  }
}
