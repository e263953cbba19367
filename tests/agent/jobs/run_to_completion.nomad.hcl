# A batch task that ends well: complete, one start, exit code 0.
job "run_to_completion" {
  type = "batch"

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
      config {
        command = "/bin/echo"
        args    = ["hello", "world"]
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
